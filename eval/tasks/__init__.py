"""The tasks by name, in the order in which they run."""

from eval.tasks.answer import answer
from eval.tasks.caption import caption
from eval.tasks.classify import classify
from eval.tasks.describe import describe
from eval.tasks.draw import draw
from eval.tasks.match import match
from eval.tasks.opt import opt
from eval.tasks.recognise import recognise
from eval.tasks.retrieval import retrieval
from eval.tasks.search import search, search1k
from eval.tasks.speak import speak
from eval.tasks.stamps import stamps
from eval.tasks.steps import steps
from eval.tasks.transcribe import transcribe
from eval.tasks.video import video

TASKS = {
    "retrieval": retrieval,
    "match": match,
    "caption": caption,
    "transcribe": transcribe,
    "draw": draw,
    "speak": speak,
}
"""of the emoji"""
ON_REQUEST = {"steps": steps, "opt": opt}
"""of the emoji too, but only where they are named"""
STAMPS = {"stamps": stamps, "video": video}
"""of Tux Paint's stamps"""
FOLDERS = {"classify": classify}
"""of a folder of classes, or of packed shards whose json tells them"""
BENCHMARKS = {
    "search": search,
    "search1k": search1k,
    "describe": describe,
    "recognise": recognise,
}
"""of packed shards of any data set"""
QUESTIONS = {"answer": answer}
"""of shards whose samples have answers"""
VECTORS = {"retrieval", "classify", "search", "search1k"}
"""those that ask for vectors only: of any model that embeds"""
KNOWN = TASKS | ON_REQUEST | STAMPS | FOLDERS | BENCHMARKS | QUESTIONS

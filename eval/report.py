"""RUN/report.html: one file with tables, curves, pictures and sound, that asks for no other."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from html import escape
from itertools import groupby
from pathlib import Path

from eval import benchmarks
from eval.bench import Example, Matrix
from eval.corpus import SENSES
from eval.figures import curves, media
from eval.matrix import drawn as figure_of
from eval.metrics import Score
from eval.protocol import lines
from eval.table import CONTROLS, Results, Table, figure, head, interval, protocol, tables

WORDS = {"text": "name", "image": "picture", "audio": "speech"}
HEADLINES = [
    ("speech finds its picture", "new/retrieval/audio->image/R@1"),
    ("picture finds its name", "new/retrieval/image->text/R@1"),
    ("speech finds its name", "new/retrieval/audio->text/R@1"),
    ("caption is exact", "new/caption/image->text/exact"),
    ("drawing is recognised", "test/draw/text->image/judged"),
    ("speech is recognised", "test/speak/text->audio/judged"),
]
JUDGED = "✓ where an independent judge, trained on real ones only, takes it for what was meant."
SECTIONS = {
    "retrieval": ("Finding", "The five nearest of all concepts of <em>new</em>, the right framed."),
    "caption": ("Naming", "A name for a picture of <em>new</em>, letter by letter."),
    "transcribe": ("Listening", "What was said, by a voice of <em>new</em>, letter by letter."),
    "draw": ("Drawing", JUDGED),
    "speak": ("Speaking", JUDGED),
}
"""Title and note of each task's examples."""
TAKEN = (
    "Rows: what it is. Columns: what it is taken for. A full row is 100 %, the right its diagonal."
)
MATRICES = {
    "retrieval": (
        "What is near what",
        "Cosines between some concepts of <em>new</em> in two senses, from 0, pale, to 1. What "
        "belongs together is the diagonal. Chosen by the seed, not by hand.",
    ),
    "match": ("Which belong together", TAKEN),
    "classify": ("What is taken for what", TAKEN),
}
"""Title and note of each task's matrices."""
SCRIPT = """
document.addEventListener("click", event => {
  const button = event.target.closest(".sound button");
  if (!button) return;
  const audio = button.parentElement.querySelector("audio");
  document.querySelectorAll("audio").forEach(other => { if (other !== audio) other.pause(); });
  for (const when of ["play", "pause", "ended"])
    audio["on" + when] = () => button.classList.toggle("playing", !audio.paused);
  if (audio.paused) { audio.currentTime = 0; audio.play(); } else audio.pause();
});
"""


EMOJI = (
    "One model for image, text and speech, trained from nothing on emoji: their pictures by "
    "several design teams, their names, and recordings of the names. <em>test</em> holds pictures "
    "and recordings that training did not see, by teams and voices that it did; <em>new</em> those "
    "of a team and of voices that it never met."
)
STAMPS = (
    "One model for image, text and speech, trained on Tux Paint's stamps: drawings, photographs, "
    "captions and human voices in many languages."
)
CLASSES = "One model for image, text and speech, asked to which class a file belongs."
BENCHMARKS = "One model for image, text and speech, measured on data of others."
QUESTIONS = "One model for image, text and speech, asked about pictures and recordings."


def report(
    run: Path,
    results: Results,
    meta: Mapping,
    examples: Sequence[Example],
    matrices: Sequence[Matrix] = (),
) -> str:
    """The whole page; `run` is the folder whose training it shows."""
    style = Path(__file__).with_name("report.css").read_text()
    drawn = curves(run / "metrics.jsonl")
    training = f"<h2>Training</h2>{drawn}" if drawn else ""
    parts = [header(results, meta), *map(table, tables(results)), *shown(examples)]
    parts += [*compared(matrices), training]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>omni: {escape(meta['config'])}</title><style>{style}</style></head><body><main>"
        f"{''.join(parts)}{every_figure(results)}{stated(meta)}{footer(meta)}"
        f"</main><script>{SCRIPT}</script></body></html>\n"
    )


def header(results: Results, meta: Mapping) -> str:
    """What the model is, its best-known figures, and how all of them were measured."""
    facts = []
    for words, name in HEADLINES:
        if score := results.get(name):
            metric, split = name.rsplit("/", 1)[1], name.split("/")[0]
            about = [interval(score, metric), split, f"n\u00a0=\u00a0{score.n:,}"]
            small = ", ".join(part for part in about if part)
            value = f"{figure(score.value, metric)} %"
            facts.append(f"<div><dt>{words}</dt><dd>{value}<small>{small}</small></dd></div>")
    return (
        f"<h1>{escape(meta['config'])}</h1>"
        f'<p class="lead">{lead(meta)} '
        + (f"Measured at step {meta['step']:,}.</p>" if "step" in meta else "</p>")
        + (f'<dl class="facts">{"".join(facts)}</dl>' if facts else "")
        + f'<div class="protocol"><p>{escape(protocol(meta))}</p></div>'
    )


def lead(meta: Mapping) -> str:
    """What the model is, by what was asked of it."""
    if "step" not in meta:
        return "A known model, measured by the same code as our own."
    for tasks, words in (
        (("classify",), CLASSES),
        (("answer",), QUESTIONS),
        (benchmarks.SENTENCES, BENCHMARKS),
    ):
        if any(task in meta["seconds"] for task in tasks):
            return words
    return STAMPS if "held" in meta["galleries"] else EMOJI


def table(built: Table) -> str:
    """One table; the first head row groups the columns by split."""
    groups = [(split, len(list(run))) for split, run in groupby(built.columns, lambda c: c[0])]
    tops = "".join(
        f'<th colspan="{n}" class="first">{escape(head(split, "")[0])}</th>' for split, n in groups
    )
    firsts, heads = [], []
    for i, column in enumerate(built.columns):
        firsts.append(i == 0 or built.columns[i - 1][0] != column[0])
        heads.append(f"<th{_first(firsts[-1])}>{escape(head(*column)[1])}</th>")
    rows = []
    for row in built.rows:
        cells = []
        for score, (_, metric), first in zip(row.scores, built.columns, firsts, strict=True):
            cells.append(f"<td{_first(first)}>{cell(score, metric)}</td>")
        rows.append(
            f'<tr class="{row.kind}"><th scope="row">{escape(row.label)}</th>{"".join(cells)}</tr>'
        )
    return (
        f'<h2>{escape(built.title)}</h2><div class="wide"><table><thead><tr><th></th>{tops}</tr>'
        f"<tr><th>direction</th>{''.join(heads)}</tr></thead><tbody>{''.join(rows)}"
        "</tbody></table></div>"
    )


def _first(first: bool) -> str:
    return ' class="first"' if first else ""


def cell(score: Score | None, metric: str) -> str:
    """A figure above its interval."""
    if score is None:
        return ""
    small = interval(score, metric)
    return figure(score.value, metric) + (f"<small>{small}</small>" if small else "")


def shown(examples: Sequence[Example]) -> Iterable[str]:
    """The examples, a section a task and direction, in the order in which they were made."""
    for task, of_task in groupby(examples, lambda example: example.task):
        title, note = SECTIONS[task]
        form = ranked if task == "retrieval" else made
        yield f'<h2>{title}</h2><p class="note">{note} Chosen by the seed, not by hand.</p>'
        for direction, group in groupby(of_task, lambda example: example.direction):
            source, target = (_words(senses) for senses in direction.split("->"))
            yield f"<h3>From {source} to {target}</h3>{form(list(group))}"


def compared(matrices: Sequence[Matrix]) -> Iterable[str]:
    """The matrices, those of a task together."""
    for task, of_task in groupby(matrices, lambda matrix: matrix.task):
        title, note = MATRICES[task]
        named = (replace(matrix, title=_words(matrix.title)) for matrix in of_task)
        figures = "".join(map(figure_of, named))
        yield f'<h2>{title}</h2><p class="note">{note}</p><div class="matrices">{figures}</div>'


def _words(senses: str) -> str:
    for sense in SENSES:
        senses = senses.replace(sense, WORDS[sense])
    return senses.replace("+", " and ")


def ranked(examples: Sequence[Example]) -> str:
    """Queries with their five best answers; the right one is framed."""
    rows = []
    for example in examples:
        marks = []
        for place, answer in enumerate(example.answers, 1):
            kind = "mark word" if isinstance(answer.item, str) else "mark"
            verdict = ", right" if answer.right else ""
            body = media(answer.item, f"answer {place}: {answer.name}{verdict}")
            marks.append(f'<span class="{kind}{" right" * answer.right}">{body}</span>')
        answers = f'<div class="answers">{"".join(marks)}</div>'
        rows.append(f'<li><div class="query">{asked(example)}</div>{answers}</li>')
    return f'<ul class="asked">{"".join(rows)}</ul>'


def asked(example: Example) -> str:
    """The query, and its name where it is not the name itself."""
    source, target = (_words(senses) for senses in example.direction.split("->"))
    body = media(example.query, f"{source} of {example.name}")
    named = source == WORDS["text"] or target == WORDS["text"]
    return body if named else f"{body}<small>{escape(example.name)}</small>"


def made(examples: Sequence[Example]) -> str:
    """What was generated beside what the corpus holds, and what the judge took it for."""
    cards = []
    for example in examples:
        answer = example.answers[0]
        judged = not answer.right and not isinstance(answer.item, str)
        taken = f"<small>taken for {escape(answer.name)}</small>" if judged else ""
        verdict = '<span class="right">✓</span>' if answer.right else "✗"
        cards.append(
            f'<li><div class="query">{asked(example)}</div><div class="pair">'
            f"<div><small>made {verdict}</small>{media(answer.item, 'made')}{taken}</div>"
            f"<div><small>real</small>{media(example.real, f'real: {example.name}')}</div>"
            "</div></li>"
        )
    return f'<ul class="cards">{"".join(cards)}</ul>'


def every_figure(results: Results) -> str:
    """All results by name, as `results.json` has them."""
    rows = []
    for name, score in results.items():
        kind = name.split("/")[0] if name.split("/")[0] in CONTROLS else "model"
        figures = [f"{value:.4g}" for value in (score.value, score.low, score.high)]
        cells = [*figures, f"{score.n}", "" if score.gallery is None else f"{score.gallery}"]
        body = "".join(f"<td>{value}</td>" for value in [*cells, f"{score.seed}"])
        rows.append(
            f'<tr class="{kind}"><th scope="row" class="text"><code>{escape(name)}</code></th>'
            f'{body}<td class="text">{escape(score.protocol)}</td></tr>'
        )
    heads = "".join(f"<th>{h}</th>" for h in ["value", "low", "high", "n", "gallery", "seed"])
    return (
        f"<h2>All figures</h2><details><summary>{len(results)} results, as fractions</summary>"
        f'<div class="wide"><table><thead><tr><th class="text">name</th>{heads}'
        f'<th class="text">protocol</th></tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
        "</details>"
    )


def stated(meta: Mapping) -> str:
    """The protocol that the run states, and that of each task."""
    rows = "".join(
        f'<tr><th scope="row" class="text">{escape(name)}</th><td class="text">{escape(told)}</td>'
        "</tr>"
        for name, told in lines(meta)
    )
    return f'<h2>Protocol</h2><div class="wide"><table><tbody>{rows}</tbody></table></div>'


def footer(meta: Mapping) -> str:
    """How to get these figures again, what it took, and who drew the pictures."""
    took = ", ".join(f"{task} {seconds:g} s" for task, seconds in meta["seconds"].items())
    return (
        f"<footer><p><code>{escape(meta['command'])}</code></p><p>{escape(took)}. "
        f"{escape(meta['time'])}. Data <code>{meta['data']}</code>.</p>"
        + (
            f"<p>Pictures by {escape(', '.join(meta['licences']))}; see LICENSES.md beside the "
            "data.</p>"
            if meta["licences"]
            else ""
        )
        + "</footer>"
    )

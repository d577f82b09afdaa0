// Tabs, and a form for each thing that a model can do.

import { ask, call, media } from "./api.js";
import { make } from "./elements.js";
import { Query } from "./query.js";
import { hideRuns, showRuns } from "./runs.js";

const model = document.getElementById("model");
const card = (...children) => make("li", { className: "card" }, ...children);

/** Does what a form asks for, and says how it goes. */
function onSubmit(id, act) {
  const section = document.getElementById(id);
  const form = section.querySelector("form");
  const status = section.querySelector(".status");
  const say = (text, wrong = false) => {
    status.textContent = text;
    status.classList.toggle("wrong", wrong);
  };
  const query = new Query(form.querySelector("[data-query]"), (error) => say(error.message, true));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector(".go");
    button.disabled = true;
    say("Working …");
    try {
      const results = section.querySelector(".results");
      const made = await act(await query.content(), new FormData(form));
      results.replaceChildren(...made);
      say(made.length ? "" : "Nothing was found.");
    } catch (error) {
      say(error.message, true);
    } finally {
      button.disabled = false;
    }
  });
}

onSubmit("search", async (content, form) => {
  if (!Object.keys(content).length) throw new Error("say, show or type what you are looking for");
  const senses = form.getAll("senses");
  if (!senses.length) throw new Error("choose what to look among");
  const { hits } = await ask("v1/search", { ...content, k: 12, senses });
  return Promise.all(hits.map(async ({ id, name, score, meta }) => {
    const thing = async (sense) => (sense in meta ? media(`v1/items/${id}/${sense}`).catch(() => null) : null);
    const [image, audio] = await Promise.all([thing("image"), thing("audio")]);
    return card(
      image && make("img", { src: image, alt: meta.text ?? name }),
      audio && make("audio", { src: audio, controls: true, ariaLabel: `recording ${name}` }),
      make("p", { className: "name" }, meta.text ?? name),
      make("meter", { min: 0, max: 1, value: Math.max(0, score), ariaLabel: "likeness" }),
      make("p", { className: "about" }, `${score.toFixed(3)} · ${name}`),
    );
  }));
});

onSubmit("describe", async (content, form) => {
  if (!content.image && !content.audio) throw new Error("give a picture or a recording");
  const parts = [];
  if (content.text) parts.push({ type: "text", text: content.text });
  if (content.image) parts.push({ type: "image_url", image_url: { url: content.image } });
  if (content.audio) {
    const data = content.audio.split(",")[1];
    parts.push({ type: "input_audio", input_audio: { data, format: "wav" } });
  }
  const messages = [{ role: "user", content: parts }];
  const language = form.get("language");
  const { choices } = await ask("v1/chat/completions", { model: model.value, messages, language });
  return [choices[0].message.content || "(nothing)"];
});

onSubmit("draw", async (content, form) => {
  if (!content.text) throw new Error("say what shall be drawn");
  const how = Object.fromEntries(["n", "steps", "guidance", "seed"].map((x) => [x, Number(form.get(x))]));
  const { data } = await ask("v1/images/generations", { model: model.value, prompt: content.text, ...how });
  return data.map(({ b64_json: picture }, i) => {
    const src = `data:image/png;base64,${picture}`;
    const name = `${content.text}, ${i + 1} of ${data.length}`;
    return card(make("img", { src, alt: name }), make("a", { href: src, download: `${name}.png` }, "Save"));
  });
});

onSubmit("speak", async (content, form) => {
  if (!content.text) throw new Error("say what shall be said");
  const body = { model: model.value, input: content.text, voice: "", seed: Number(form.get("seed")) };
  const src = URL.createObjectURL(await (await call("v1/audio/speech", body)).blob());
  return [card(
    make("p", { className: "name" }, content.text),
    make("audio", { src, controls: true, ariaLabel: `speech: ${content.text}` }),
    make("a", { href: src, download: `${content.text}.wav` }, "Save"),
  )];
});

// Tabs: arrow keys move between them, and the address names the one that is open.
const tabs = [...document.querySelectorAll("[role=tab]")];

function open(tab) {
  for (const other of tabs) {
    const chosen = other === tab;
    other.setAttribute("aria-selected", chosen);
    other.tabIndex = chosen ? 0 : -1;
    document.getElementById(other.getAttribute("aria-controls")).hidden = !chosen;
  }
  if (tab.id === "tab-runs") showRuns();
  else hideRuns();
}

function choose(tab) {
  open(tab);
  history.replaceState(null, "", `#${tab.getAttribute("aria-controls")}`);
}

for (const tab of tabs) {
  tab.addEventListener("click", () => choose(tab));
  tab.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length];
    choose(next);
    next.focus();
  });
}

const named = document.getElementById(`tab-${location.hash.slice(1)}`);
open(tabs.includes(named) ? named : tabs[0]);
const { data: models } = await ask("v1/models");
model.append(...models.map(({ id }) => make("option", {}, id)));

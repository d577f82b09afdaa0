// Runs: their curves, samples and reports. Jobs: what is asked for, what it says, how it ended.

import { ask, call, media } from "./api.js";
import { make } from "./elements.js";

const PAUSE = 2000; // milliseconds between two looks at what is at work
const WIDTH = 240, HEIGHT = 80; // of a curve
const byId = (id) => document.getElementById(id);
const work = byId("work");
const overview = byId("runs-status");
const form = work.querySelector("form");
const log = byId("log");
let timer = null;
let turn = 0; // of those who look, only the last looks again
let shown = null; // the job whose log is shown, and how much of it is
let known = ""; // what the lists show, so that they are drawn anew only when it changes

/** Shows what there is, and follows it, also where the service does not answer for a while. */
export async function showRuns() {
  hideRuns();
  const mine = turn;
  await attempt(overview, look);
  if (mine === turn) timer = setTimeout(showRuns, PAUSE);
}

export function hideRuns() {
  clearTimeout(timer);
  turn += 1;
}

/** Does something, and says what is wrong where it cannot be done. */
async function attempt(status, what) {
  let told = "";
  try {
    await what();
  } catch (error) {
    told = error.message;
  }
  status.textContent = told;
  status.classList.toggle("wrong", told !== "");
}

async function look() {
  const { runs } = await ask("v1/runs");
  const { jobs, offers } = await ask("v1/jobs").catch(() => ({}));
  work.hidden = !jobs;
  const told = JSON.stringify([runs, jobs]);
  if (told !== known) {
    known = told;
    byId("runs-list").replaceChildren(...(runs.length ? runs.map(runRow) : [none("no run yet", 4)]));
    if (jobs) {
      byId("jobs-list").replaceChildren(...(jobs.length ? jobs.map(jobRow) : [none("no job yet", 5)]));
      fill("preset", offers.presets);
      fill("data", offers.data);
      fill("run", runs.map(({ name }) => name));
    }
  }
  await follow();
}

const cell = (...children) => make("td", {}, ...children);
const none = (text, columns) => make("tr", {}, make("td", { colSpan: columns, textContent: text }));
const when = (seconds) => new Date(seconds * 1000).toLocaleString([], { dateStyle: "short", timeStyle: "short" });

function runRow({ name, step, time, report }) {
  const open = make("button", { type: "button", textContent: name });
  open.addEventListener("click", () => showRun(name).catch(({ message }) => {
    byId("run").replaceChildren(make("p", { className: "status wrong", textContent: message }));
  }));
  const link = report && make("a", {
    href: `v1/runs/${name}/report`, target: "_blank", rel: "noopener", textContent: `report of ${name}`,
  });
  return make("tr", {}, cell(open), cell(step), cell(when(time)), cell(link || "none yet"));
}

/** The curves of a run, and what it made at its last preview. */
async function showRun(name) {
  const { step, curves, samples } = await ask(`v1/runs/${name}`);
  const place = byId("run");
  const last = samples[0];
  const files = await Promise.all((last?.files ?? []).map(async (file) => {
    const src = await media(`v1/runs/${name}/samples/${last.step}/${encodeURIComponent(file)}`);
    const title = file.replace(/\.[a-z]+$/, "");
    return make("li", { className: "card" },
      file.endsWith(".wav")
        ? make("audio", { src, controls: true, ariaLabel: `speech of ${name}: ${title}` })
        : make("img", { src, alt: `pictures that ${name} drew at step ${last.step}` }),
      make("p", { className: "name" }, title));
  }));
  place.replaceChildren(
    make("h2", { textContent: `${name}, step ${step}` }),
    make("div", { className: "curves" }, ...Object.entries(curves).map(curve)),
    last && make("h2", { textContent: `Made at step ${last.step}` }),
    make("ul", { className: "cards", ariaLabel: "Samples" }, ...files),
    make("pre", { hidden: !last?.captions.length, textContent: last?.captions.join("\n") }),
  );
  place.querySelectorAll("pre").forEach((pre) => { pre.tabIndex = 0; });
  place.focus();
}

function curve([name, points]) {
  const [steps, values] = [points.map(([step]) => step), points.map(([, value]) => value)];
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const x = (step) => ((step - steps[0]) / Math.max(1, steps.at(-1) - steps[0])) * WIDTH;
  const y = (value) => HEIGHT - ((value - low) / (high - low || 1)) * HEIGHT;
  const space = "http://www.w3.org/2000/svg"; // a name, which nothing is asked for
  const svg = document.createElementNS(space, "svg");
  const line = document.createElementNS(space, "polyline");
  line.setAttribute("points", points.map(([step, value]) => `${x(step)},${y(value)}`).join(" "));
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  const short = (value) => Number(value.toPrecision(3)).toString();
  svg.setAttribute("aria-label", `${name} from ${short(values[0])} to ${short(values.at(-1))}`);
  svg.classList.add("curve");
  svg.append(line);
  return make("figure", {}, make("figcaption", {}, name, make("span", { textContent: short(values.at(-1)) })), svg);
}

function jobRow(job) {
  const { id, kind, words, state, code, made } = job;
  const say = make("button", { type: "button", textContent: `Log of ${id}` });
  say.addEventListener("click", () => {
    shown = { id, next: 0 };
    log.textContent = "";
    log.hidden = false;
    log.focus();
    showRuns();
  });
  const end = ["queued", "running"].includes(state) && make("button", { type: "button", textContent: `Cancel ${id}` });
  if (end) end.addEventListener("click", () => act(() => call(`v1/jobs/${id}`, undefined, "DELETE")));
  const how = code === null || code === 0 ? state : `${state} (${code})`;
  const what = make("code", { textContent: words.slice(1).join(" ") });
  return make("tr", {}, cell(id), cell(`${kind}: `, what), cell(how), cell(when(made)), cell(say, " ", end));
}

/** What the job whose log is shown has said since. */
async function follow() {
  if (!shown) return;
  const { id, next } = shown;
  const told = await ask(`v1/jobs/${id}/log?start=${next}`);
  if (shown.id !== id || shown.next !== next) return;
  shown.next = told.next;
  const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 4;
  log.textContent += told.text;
  if (atEnd) log.scrollTop = log.scrollHeight;
}

function fill(name, values) {
  const select = form.elements[name];
  const chosen = select.value;
  select.replaceChildren(...values.map((value) => make("option", {}, value)));
  if (values.includes(chosen)) select.value = chosen;
}

/** Shows the fields of a kind of job; those of others are not asked for. */
function choose() {
  for (const label of form.querySelectorAll("[data-for]")) {
    label.hidden = !label.dataset.for.split(" ").includes(form.elements.kind.value);
    label.querySelector("input, select").disabled = label.hidden;
  }
}

async function act(what) {
  await attempt(work.querySelector(".status"), what);
  await showRuns();
}

function order() {
  const given = new FormData(form);
  const kind = given.get("kind");
  const data = given.get("data") || null;
  if (kind === "index") return { kind, data, run: given.get("run"), name: given.get("name") };
  if (kind === "evaluate") {
    return { kind, data, run: given.get("run"), tasks: given.get("tasks").split(" ").filter(Boolean) };
  }
  const fields = { "train.seed": Number(given.get("seed")) };
  if (given.get("steps")) fields["train.steps"] = Number(given.get("steps"));
  return { kind, data, preset: given.get("preset"), name: given.get("name"), fields, resume: given.has("resume") };
}

form.elements.kind.addEventListener("change", choose);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  act(() => call("v1/jobs", order()));
});
choose();

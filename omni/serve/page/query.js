// What is asked: a text, a picture, a recording, or several of them together.

import { record, toWav } from "./sound.js";

const SIDE = 1024; // pixels: models see less, and a photograph of a phone is too much to send
const KINDS = { image: "image/*", audio: "audio/*" };

/** Fills an element that names its senses in `data-query` with the fields for them. */
export class Query {
  constructor(element, complain) {
    this.senses = element.dataset.query.split(" ");
    this.complain = complain;
    this.given = {}; // blobs by sense
    element.append(document.getElementById("query").content.cloneNode(true));
    this.box = element.querySelector(".query");
    this.field = element.querySelector(".text input");
    this.list = element.querySelector(".given");
    element.querySelector(".text span").textContent = element.dataset.label;
    const kinds = this.senses.filter((sense) => sense in KINDS);
    const file = element.querySelector(".file");
    const microphone = element.querySelector(".microphone");
    file.hidden = kinds.length === 0;
    microphone.hidden = !this.senses.includes("audio");
    if (file.hidden && microphone.hidden) element.querySelector(".tools").remove();
    const input = file.querySelector("input");
    input.accept = kinds.map((sense) => KINDS[sense]).join();
    input.addEventListener("change", () => {
      [...input.files].forEach((one) => this.take(one));
      input.value = "";
    });
    microphone.addEventListener("click", () => this.#record(microphone));
    this.#drop();
  }

  /** All of it, as the service takes it: data URIs, and a text if there is one. */
  async content() {
    const found = {};
    if (this.field.value.trim()) found.text = this.field.value.trim();
    for (const [sense, blob] of Object.entries(this.given)) found[sense] = await dataUri(blob);
    return found;
  }

  /** Puts in a picture or a recording, in the place of one that is there. */
  async take(blob) {
    const sense = Object.keys(KINDS).find((kind) => blob.type.startsWith(`${kind}/`));
    if (!this.senses.includes(sense)) {
      this.complain(new Error(`${blob.name ?? "this"} is not of use here`));
      return;
    }
    try {
      this.given[sense] = sense === "image" ? await smaller(blob) : await toWav(blob);
      this.#show();
    } catch {
      this.complain(new Error(`${blob.name ?? "this"} cannot be read as ${sense}`));
    }
  }

  #show() {
    this.list.replaceChildren(...Object.entries(this.given).map(([sense, blob]) => {
      const item = document.createElement("li");
      const shown = document.createElement(sense === "image" ? "img" : "audio");
      shown.src = URL.createObjectURL(blob);
      if (sense === "image") shown.alt = "the picture that you gave";
      else shown.controls = true;
      const remove = document.createElement("button");
      remove.type = "button";
      remove.textContent = "Remove";
      remove.setAttribute("aria-label", `Remove the ${sense === "image" ? "picture" : "recording"}`);
      remove.addEventListener("click", () => {
        delete this.given[sense];
        this.#show();
        this.field.focus();
      });
      item.append(shown, remove);
      return item;
    }));
  }

  async #record(button) {
    if (this.recording) {
      const recording = this.recording;
      this.recording = null;
      button.textContent = "Record";
      button.setAttribute("aria-pressed", "false");
      this.given.audio = await recording.stop();
      this.#show();
      return;
    }
    try {
      this.recording = await record();
      button.textContent = "Stop";
      button.setAttribute("aria-pressed", "true");
    } catch {
      this.complain(new Error("the microphone cannot be used: the browser did not allow it"));
    }
  }

  #drop() {
    const over = (on) => (event) => {
      event.preventDefault();
      this.box.classList.toggle("over", on);
    };
    this.box.addEventListener("dragover", over(true));
    this.box.addEventListener("dragleave", over(false));
    this.box.addEventListener("drop", (event) => {
      over(false)(event);
      [...event.dataTransfer.files].forEach((file) => this.take(file));
    });
    this.field.addEventListener("paste", (event) => {
      [...event.clipboardData.files].forEach((file) => this.take(file));
    });
  }
}

async function smaller(blob) {
  const bitmap = await createImageBitmap(blob);
  const scale = Math.min(1, SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

function dataUri(blob) {
  return new Promise((done, fail) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => done(reader.result));
    reader.addEventListener("error", () => fail(reader.error));
    reader.readAsDataURL(blob);
  });
}

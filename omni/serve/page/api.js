// The service, as this page calls it.

let key = sessionStorage.getItem("key");

/** Asks for a key, once, and goes on when it is given. */
function askForKey() {
  const dialog = document.getElementById("key");
  const field = dialog.querySelector("input");
  return new Promise((done) => {
    dialog.addEventListener("close", () => {
      key = field.value;
      sessionStorage.setItem("key", key);
      done();
    }, { once: true });
    dialog.showModal();
    field.focus();
  });
}

/** The response to a request, which is a GET without a body. Throws what the service says. */
export async function call(path, body, method = body === undefined ? "GET" : "POST") {
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  const isForm = body instanceof FormData;
  if (body !== undefined && !isForm) headers["Content-Type"] = "application/json";
  const content = body === undefined || isForm ? body : JSON.stringify(body);
  const response = await fetch(path, { method, headers, body: content });
  if (response.status === 401) {
    await askForKey();
    return call(path, body, method);
  }
  if (!response.ok) {
    const told = await response.json().catch(() => ({}));
    throw new Error(told.error?.message ?? `the service answered ${response.status}`);
  }
  return response;
}

/** What a GET or POST answers, as JSON. */
export async function ask(path, body) {
  return (await call(path, body)).json();
}

/** A URL of bytes that only a request with the key may have. */
export async function media(path) {
  return URL.createObjectURL(await (await call(path)).blob());
}

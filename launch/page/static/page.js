// Keys, the time that the page was in sight, and saving that tells of a lost connection. Without this file the forms
// still work.
"use strict";

const judging = document.getElementById("judge");
const notice = document.getElementById("notice");
const PATIENCE = 20000; // milliseconds that a save may take
const MINIMAL = "return=minimal"; // as in app.py
const STILL_HERE = "Your answer is still here; try again.";

// Seconds in sight, kept over a reload of the same pair.
function stopwatch(name) {
  let before = Number(sessionStorage.getItem(name)) || 0;
  let since = document.hidden ? null : performance.now();
  const pause = () => {
    if (since !== null) before += (performance.now() - since) / 1000;
    since = null;
    sessionStorage.setItem(name, String(before));
  };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) pause();
    else since = performance.now();
  });
  window.addEventListener("pagehide", pause);
  window.addEventListener("pageshow", () => {
    if (since === null && !document.hidden) since = performance.now();
  });
  return () => before + (since === null ? 0 : (performance.now() - since) / 1000);
}

// What is half filled in survives a reload, too.
function keepDraft(form, name) {
  const kept = JSON.parse(sessionStorage.getItem(name) || "null");
  if (kept) {
    for (const field of ["choice", "confidence"]) {
      for (const radio of form.elements[field]) radio.checked = radio.value === kept[field];
    }
    form.elements.why.value = kept.why;
  }
  form.addEventListener("input", () => {
    const { choice, confidence, why } = form.elements;
    sessionStorage.setItem(
      name,
      JSON.stringify({ choice: choice.value, confidence: confidence.value, why: why.value }),
    );
  });
}

let sending = false;

async function send(form) {
  if (sending) return;
  sending = true;
  document.body.classList.add("sending");
  if (notice) notice.textContent = "";
  try {
    const reply = await fetch(form.action, {
      method: "POST",
      headers: { Prefer: MINIMAL },
      body: new URLSearchParams(new FormData(form)),
      redirect: "manual",
      signal: AbortSignal.timeout(PATIENCE),
    });
    if (reply.status === 204 && reply.headers.get("Preference-Applied") === MINIMAL) {
      sessionStorage.clear();
      location.reload();
      return;
    }
    tell(await problem(reply));
  } catch {
    tell(`Not saved: the connection is lost. ${STILL_HERE}`);
  }
  sending = false;
  document.body.classList.remove("sending");
}

// What stands in the way: the page's own words, or that something else answered (a proxy's login, say).
async function problem(reply) {
  if (reply.status < 400) {
    return `Not saved: you may have to sign in again. Open this page in another tab to do so. ${STILL_HERE}`;
  }
  const said = new DOMParser().parseFromString(await reply.text(), "text/html").querySelector("main p");
  return said ? said.textContent : `Not saved (error ${reply.status}). ${STILL_HERE}`;
}

function tell(text) {
  if (notice) notice.textContent = text;
}

for (const form of document.forms) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(form);
  });
}

function press(id) {
  const target = document.getElementById(id);
  if (target) target.click();
  return target !== null;
}

const KEYS = {
  a: "choice-first",
  b: "choice-second",
  t: "choice-tie",
  1: "sure-guess",
  2: "sure-leaning",
  3: "sure-fairly",
  4: "sure-certain",
  s: "pass",
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const key = event.key.toLowerCase();
  const writing = event.target.id === "why";
  if (key === "enter" && judging && !event.shiftKey && event.target.tagName !== "BUTTON") {
    event.preventDefault();
    judging.requestSubmit();
  } else if (key === "escape" && writing) {
    event.target.blur();
  } else if (!writing && key === "w" && judging) {
    event.preventDefault();
    judging.elements.why.focus();
  } else if (!writing && key === "u" && document.getElementById("undo")) {
    document.getElementById("undo").requestSubmit();
  } else if (!writing && KEYS[key] && press(KEYS[key])) {
    event.preventDefault();
  }
});

if (judging) {
  const name = document.querySelector("main").dataset.key;
  const seconds = stopwatch(`seconds ${name}`);
  keepDraft(judging, `draft ${name}`);
  judging.addEventListener("formdata", (event) => event.formData.set("seconds", seconds().toFixed(2)));
}

"use strict";

// Parts that move by themselves ask what changed, but not while nobody looks.
function ask(selector, event) {
  if (document.hidden) return;
  document.querySelectorAll(selector).forEach((part) => htmx.trigger(part, event));
}
// Every two seconds; less often while nothing changes or nobody answers, at once on coming back.
const soon = 2000;
const latest = { same: 8000, lost: 30000 };
let pause = soon;
let due = 0;
setInterval(() => {
  if (document.hidden || Date.now() < due) return;
  due = Date.now() + pause - 100;
  ask("[data-poll]", "poll");
}, soon);
setInterval(() => ask("[data-slow]", "slow"), 30000);
document.addEventListener("visibilitychange", () => {
  pause = soon;
  due = 0;
  ask("[data-poll]", "poll");
});

// A page that cannot ask says so: what it shows is as old as the last answer.
let heard = new Date();
function lost() {
  pause = Math.min(pause * 2, latest.lost);
  const place = document.getElementById("connection");
  if (!place || !place.hidden) return;
  place.querySelector("time").textContent = heard.toLocaleTimeString();
  place.hidden = false;
}
document.addEventListener("htmx:sendError", lost);
document.addEventListener("htmx:timeout", lost);
document.addEventListener("htmx:afterRequest", (event) => {
  const status = event.detail.xhr.status;
  if (status >= 500) lost();
  if (status < 200 || status >= 500) return;
  heard = new Date();
  pause = status === 204 ? Math.min(pause * 1.25, latest.same) : soon;
  const place = document.getElementById("connection");
  if (place) place.hidden = true;
});

// Forms are replaced only when what can be done has changed; the keyboard stays where it was.
let held = false;
document.addEventListener("htmx:oobBeforeSwap", (event) => {
  held = event.detail.target.contains(document.activeElement);
});
document.addEventListener("htmx:oobAfterSwap", (event) => {
  if (!held) return;
  held = false;
  const place = document.getElementById(event.detail.target.id);
  if (place && place.tabIndex === -1) place.focus();
});

// Relative times stay true on a page that stays open.
function relative(at) {
  const seconds = (at - Date.now()) / 1000;
  const size = Math.abs(seconds);
  if (size < 5) return "now";
  let amount = `${Math.floor(size / 2629743)} months`;
  for (const [limit, unit, length] of [[90, "s", 1], [5400, "min", 60], [129600, "h", 3600], [10368000, "d", 86400]]) {
    if (size < limit) {
      amount = `${Math.floor(size / length)} ${unit}`;
      break;
    }
  }
  return seconds > 0 ? `in ${amount}` : `${amount} ago`;
}
setInterval(() => {
  if (document.hidden) return;
  document.querySelectorAll("time:not([data-exact])").forEach((time) => {
    const text = relative(Date.parse(time.dateTime));
    if (time.textContent !== text) time.textContent = text;
  });
}, 5000);

// The code of an invitation comes after the "#", which no server sees; then it leaves the address.
document.querySelectorAll("[data-from-hash]").forEach((field) => {
  if (location.hash.length < 2) return;
  field.value = location.hash.slice(1);
  history.replaceState(null, "", location.pathname);
});

// "/" goes to the search field.
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select, [contenteditable]")) return;
  const field = document.getElementById("search");
  if (!field) return;
  event.preventDefault();
  field.focus();
  field.select();
});

// A second press while the first is under way would change nothing; this says so.
document.addEventListener("submit", (event) => {
  if (event.defaultPrevented) return;
  if (event.target.dataset.sent) {
    event.preventDefault();
    return;
  }
  if (event.submitter && "stays" in event.submitter.dataset) return;  // a download: the page stays
  if (event.target.method === "post") event.target.dataset.sent = "yes";
  if (event.submitter) event.submitter.setAttribute("aria-busy", "true");
  const said = event.target.dataset.busy;
  if (said && event.submitter && event.submitter.classList.contains("main")) {
    const word = document.createElement("span");
    word.setAttribute("role", "status");
    word.className = "dim busy";
    word.textContent = said;
    event.submitter.after(word);
  }
  setTimeout(freeForms, 20000);
});
function freeForms() {
  document.querySelectorAll("form[data-sent]").forEach((form) => delete form.dataset.sent);
  document.querySelectorAll("[aria-busy]").forEach((button) => button.removeAttribute("aria-busy"));
  document.querySelectorAll(".busy").forEach((word) => word.remove());
}
window.addEventListener("pageshow", (event) => { if (event.persisted) freeForms(); });

// A secret is shown once, for a while.
function hide(box) {
  box.querySelectorAll("code").forEach((code) => { code.textContent = "Hidden again."; });
  box.querySelectorAll("[data-copy]").forEach((button) => button.remove());
  box.querySelectorAll("[data-countdown]").forEach((text) => { text.textContent = ""; });
}
document.querySelectorAll("[data-hide-after]").forEach((box) => {
  const ends = Date.now() + Number(box.dataset.hideAfter) * 1000;
  const left = box.querySelector("[data-countdown]");
  left.textContent = `Hidden after ${box.dataset.hideAfter} s`;
  const timer = setInterval(() => {
    if (Date.now() < ends) return;
    clearInterval(timer);
    hide(box);
  }, 500);
  window.addEventListener("pagehide", () => hide(box));
});
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const code = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.lastChild.textContent = " Copied";
  } catch {
    getSelection().selectAllChildren(code);
    button.lastChild.textContent = " Selected: press Ctrl+C";
  }
});

// One box ticks all of a page.
document.addEventListener("change", (event) => {
  if (!("tickAll" in event.target.dataset)) return;
  event.target.closest("table").querySelectorAll("tbody input[type=checkbox]").forEach((box) => {
    box.checked = event.target.checked;
  });
});

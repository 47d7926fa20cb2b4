"use strict";

// A long list is looked at and recorded in parts, since the vendor is asked about each row. The whole text goes along
// each time: only the server reads it, so nothing is taken here for another row than there. The text
// stays in this page; leaving it loses nothing that was recorded.

async function send(form, button, ticks, start) {
  const body = new FormData(form);
  body.set(button.name, button.value);  // a disabled button sends nothing by itself
  body.set("tick", ticks);  // as one field: there may be many
  body.set("start", String(start));
  const answer = await fetch(form.getAttribute("action") || location.pathname, {
    method: "POST", body, headers: { "HX-Request": "true" }, redirect: "manual",
  });
  if (!answer.ok) throw new Error(answer.type === "opaqueredirect" ? "sign in again" : `answered ${answer.status}`);
  const part = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("fates");
  if (!part) throw new Error("sign in again");
  return part;
}

async function inParts(form, button, ticks, size) {
  const place = document.getElementById("fates");
  let good = 0, left = 0, rows = null, table = null;
  const bar = document.createElement("progress"), word = document.createElement("span");
  word.setAttribute("role", "status");
  const line = document.createElement("p");
  line.className = "flow";
  line.append(bar, " ", word);
  for (let at = 0; rows === null || at < rows; at += size) {
    const part = await send(form, button, ticks, at);
    if (at === 0) place.replaceChildren(line);
    const problem = part.querySelector("[role=alert]");
    if (problem) {
      place.append(problem);
      if (rows === null) line.remove();
      return;
    }
    rows = Number(part.dataset.rows);
    good += Number(part.dataset.good);
    left += Number(part.dataset.left);
    if (table) table.querySelector("tbody").append(...part.querySelectorAll("tbody tr"));
    else place.append(table = part.querySelector(".card"));
    bar.max = rows;
    bar.value = Math.min(at + size, rows);
    word.textContent = `${bar.value} of ${rows} rows; leave this page open.`;
  }
  const done = button.name === "record" ? "recorded" : "good";
  word.textContent = `${good} of ${rows} rows are ${done}${left ? `, ${left} left out` : ""}.`;
}

document.addEventListener("submit", async (event) => {
  const form = event.target, size = Number(form.dataset.parts), button = event.submitter;
  if (!size || !button) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  // Taken once: each part that comes back brings boxes of its own.
  const ticks = new FormData(form).getAll("tick").join(" ");
  const buttons = form.querySelectorAll("button");
  buttons.forEach((one) => { one.disabled = true; });
  button.setAttribute("aria-busy", "true");
  try {
    await inParts(form, button, ticks, size);
  } catch (error) {
    const note = document.createElement("p");
    note.className = "note error";
    note.setAttribute("role", "alert");
    note.textContent = `The connection failed (${error.message}). What is listed below as recorded is done; do it again for the rest.`;
    document.getElementById("fates").prepend(note);
  }
  button.removeAttribute("aria-busy");
  buttons.forEach((one) => { one.disabled = false; });
}, true);

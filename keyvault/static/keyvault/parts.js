"use strict";

// A long list is sent in parts, since the vendor is asked about each row. The text stays in this
// page; leaving it loses nothing that was recorded, and doing it again records what was missing.

// Whole records: a line break within quotation marks ends none.
function records(text) {
  const found = [];
  let line = 1, begin = 0, quoted = false;
  for (let place = 0; place <= text.length; place++) {
    const sign = text[place];
    if (sign === '"') quoted = !quoted;
    if (place < text.length && (sign !== "\n" || quoted)) {
      if (sign === "\n") line++;
      continue;
    }
    const record = text.slice(begin, place);
    // The server counts a record by the line on which it ends.
    if (record.trim()) found.push({ line, text: record });
    line++;
    begin = place + 1;
  }
  return found;
}

async function sendPart(form, button, part, header) {
  const body = new FormData(form);
  body.set(button.name, button.value);  // a disabled button sends nothing by itself
  body.set("text", [...header, ...part].map((one) => one.text).join("\n"));
  body.set("first", String(part[0].line));
  const answer = await fetch(form.getAttribute("action") || location.pathname, {
    method: "POST", body, headers: { "HX-Request": "true" }, redirect: "manual",
  });
  if (!answer.ok) throw new Error(`answered ${answer.status}`);
  return new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("fates");
}

async function inParts(form, button, all, header, size) {
  const place = document.getElementById("fates");
  const rows = all.slice(header.length);
  let good = 0, table = null;
  place.innerHTML = "<p class='flow'><progress></progress> <span role='status'></span></p>";
  const bar = place.querySelector("progress"), word = place.querySelector("[role=status]");
  bar.max = rows.length;
  for (let at = 0; at < rows.length; at += size) {
    word.textContent = `${at} of ${rows.length} rows; leave this page open.`;
    bar.value = at;
    const part = await sendPart(form, button, rows.slice(at, at + size), header);
    if (!part) throw new Error("sign in again");
    const problem = part.querySelector("[role=alert]");
    if (problem) {
      place.append(problem);
      break;
    }
    good += Number(part.dataset.good);
    if (table) table.querySelector("tbody").append(...part.querySelectorAll("tbody tr"));
    else place.append(table = part.querySelector(".card"));
    bar.value = Math.min(at + size, rows.length);
  }
  word.textContent = `${good} of ${rows.length} rows are ${button.name === "record" ? "recorded" : "good"}.`;
}

document.addEventListener("submit", async (event) => {
  const form = event.target, size = Number(form.dataset.parts);
  if (!size || !event.submitter) return;
  const text = form.elements.text.value.replace(/\r\n?/g, "\n");
  const all = records(text);
  if (all.length <= size + 1) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  const names = all[0].text.replaceAll(";", ",").split(",").map((one) => one.trim().replaceAll('"', ""));
  const header = names.some((one) => one.toLowerCase() === "name") ? [all[0]] : [];
  const buttons = form.querySelectorAll("button");
  buttons.forEach((one) => { one.disabled = true; });
  try {
    await inParts(form, event.submitter, all, header, size);
  } catch (error) {
    const note = document.createElement("p");
    note.className = "note error";
    note.setAttribute("role", "alert");
    note.textContent = `The connection failed (${error.message}). What is listed below is done; do it again for the rest.`;
    document.getElementById("fates").prepend(note);
  }
  buttons.forEach((one) => { one.disabled = false; });
}, true);

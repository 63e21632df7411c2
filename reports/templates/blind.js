"use strict";
// Shows one pair after the other, keeps the answers where the browser lets a file keep something, and gives them out as a file.
(() => {
  const study = JSON.parse(document.getElementById("data-study").textContent);
  const find = (id) => document.getElementById(id);
  const place = `realbench-votes-${study.study}`;
  const choices = ["a", "tie", "b"];
  const words = { a: "a", b: "b", t: "tie" };
  let at = -1; // Before the first pair.
  let saved = true;

  const draw = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const restore = () => {
    try {
      const found = JSON.parse(localStorage.getItem(place));
      if (/^[0-9a-f]{32}$/.test(found.ballot) && typeof found.answers === "object" && found.answers) return found;
    } catch { /* nothing kept, or nothing that can be read */ }
    return { ballot: draw(), answers: {} };
  };
  const state = restore();
  const keep = () => { try { localStorage.setItem(place, JSON.stringify(state)); } catch { /* not kept */ } };
  const answer = (pair, question) => {
    const found = Object.hasOwn(state.answers, pair) ? state.answers[pair][question] : null;
    return choices.includes(found) ? found : null;
  };
  const isDone = ([pair]) => study.questions.every((question) => answer(pair, question));
  const count = () => study.pairs.filter(isDone).length;

  const picture = (number, words) => {
    const image = document.createElement("img");
    image.src = study.images[number];
    image.alt = words;
    return image;
  };
  const show = (wanted) => {
    at = Math.min(Math.max(wanted, 0), study.pairs.length - 1);
    const [pair, scene, a, b] = study.pairs[at];
    const [target, references] = study.scenes[scene];
    find("image-a").replaceChildren(picture(a, "Picture A"));
    find("image-b").replaceChildren(picture(b, "Picture B"));
    find("target").replaceChildren(picture(target, "The photograph with its missing part in grey"));
    find("references").replaceChildren(...references.map((number, index) => picture(number, `Reference ${index + 1}`)));
    check();
    find("pair-name").textContent = `Pair ${at + 1} of ${study.pairs.length}`;
    find("back").disabled = at === 0;
    find("intro").hidden = find("end").hidden = true;
    find("pair").hidden = false;
    mark();
    find("pair-name").focus();
  };
  const check = () => {
    const [pair] = study.pairs[at];
    for (const input of document.querySelectorAll("fieldset input")) input.checked = input.value === answer(pair, input.name);
  };
  const mark = () => {
    const [pair] = study.pairs[at];
    const open = study.questions.find((question) => !answer(pair, question));
    for (const question of study.questions) find(question).classList.toggle("active", question === open);
    find("progress").value = count();
    find("answered").textContent = `${count()} answered`;
  };
  const choose = (question, value) => {
    const [pair] = study.pairs[at];
    state.answers[pair] = { ...(Object.hasOwn(state.answers, pair) ? state.answers[pair] : {}), [question]: value };
    saved = false;
    keep();
    mark();
  };
  const next = () => { if (at + 1 < study.pairs.length) show(at + 1); else end(); };
  const votes = () => JSON.stringify({
    kind: "realbench-votes/1",
    study: study.study,
    ballot: state.ballot,
    votes: study.pairs.map(([pair]) => ({
      pair, ...Object.fromEntries(study.questions.map((question) => [question, answer(pair, question)])),
    })).filter((vote) => study.questions.some((question) => vote[question])),
  }, null, 1);
  const end = () => {
    find("intro").hidden = find("pair").hidden = true;
    find("end").hidden = false;
    const left = study.pairs.length - count();
    find("summary").textContent = left ? `Answered: ${count()} of ${study.pairs.length} pairs. What is answered counts.` : "All pairs are answered.";
    find("votes").value = votes();
    find("end-name").focus();
  };
  const save = () => {
    const link = document.createElement("a");
    const address = URL.createObjectURL(new Blob([votes()], { type: "application/json" }));
    link.href = address;
    link.download = `votes-${study.study}-${state.ballot.slice(0, 8)}.json`;
    link.click();
    saved = true;
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  };

  for (const question of study.questions) find(question).addEventListener("change", (event) => choose(question, event.target.value));
  find("start").textContent = count() ? "Go on" : "Start";
  find("start").addEventListener("click", () => show(Math.max(0, study.pairs.findIndex((pair) => !isDone(pair)))));
  find("back").addEventListener("click", () => show(at - 1));
  find("next").addEventListener("click", next);
  find("finish").addEventListener("click", end);
  find("again").addEventListener("click", () => show(Math.max(0, study.pairs.findIndex((pair) => !isDone(pair)))));
  find("save").addEventListener("click", save);
  document.addEventListener("keydown", (event) => {
    if (find("pair").hidden || event.ctrlKey || event.metaKey || event.altKey) return;
    const [pair] = study.pairs[at];
    const open = study.questions.find((question) => !answer(pair, question));
    const letter = event.key.toLowerCase();
    if (Object.hasOwn(words, letter) && open) choose(open, words[letter]);
    else if (event.key === "Enter" && !(event.target instanceof HTMLButtonElement)) next();
    else if (event.key === "Backspace") show(at - 1);
    else return;
    event.preventDefault();
    check();
  });
  addEventListener("beforeunload", (event) => { if (!saved) event.preventDefault(); });
})();

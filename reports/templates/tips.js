"use strict";
// What an element with data-tip has to say, shown on hover and focus; Escape closes it.
(() => {
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.setAttribute("role", "tooltip");
  tip.hidden = true;
  document.body.append(tip);
  let owner = null;

  const hide = () => {
    if (owner) owner.removeAttribute("aria-describedby");
    owner = null;
    tip.hidden = true;
  };
  const place = () => {
    if (!owner) return;
    const at = owner.getBoundingClientRect();
    const left = Math.min(at.left + at.width / 2 - tip.offsetWidth / 2, innerWidth - tip.offsetWidth - 8);
    const above = at.top - tip.offsetHeight - 6;
    tip.style.setProperty("left", `${Math.max(8, left)}px`);
    tip.style.setProperty("top", `${above < 8 ? at.bottom + 6 : above}px`);
  };
  const show = (element) => {
    hide();
    owner = element;
    owner.removeAttribute("title"); // Without scripts the title says the same.
    owner.setAttribute("aria-describedby", tip.id);
    tip.textContent = element.dataset.tip;
    tip.hidden = false;
    place();
  };
  const found = (event) => event.target instanceof Element && event.target.closest("[data-tip]");

  for (const type of ["pointerover", "focusin"]) {
    document.addEventListener(type, (event) => { const element = found(event); if (element) show(element); });
  }
  for (const type of ["pointerout", "focusout"]) {
    document.addEventListener(type, (event) => { if (found(event) === owner) hide(); });
  }
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  document.addEventListener("scroll", place, { capture: true, passive: true });
})();

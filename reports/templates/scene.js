"use strict";
// One zoom for all pictures, in shares of a picture, so that copies of any size show the same place; and the comparison sliders.
(() => {
  const root = document.documentElement;
  const most = 16;
  const step = 1.5;
  const pixels = 3; // From this zoom on, pixels are shown as squares.
  let zoom = 1, left = 0, top = 0;
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  const draw = () => {
    left = clamp(left, 0, 1 - 1 / zoom);
    top = clamp(top, 0, 1 - 1 / zoom);
    root.style.setProperty("--zoom", zoom);
    root.style.setProperty("--left", left);
    root.style.setProperty("--top", top);
    root.classList.toggle("zoomed", zoom > 1);
    root.classList.toggle("pixelated", zoom >= pixels);
    document.getElementById("zoom").textContent = `${Number(zoom.toFixed(1))}×`;
    if (zoom > 1) for (const view of near) sharpen(view);
  };
  // Zooms about a point, given in shares of what a view shows.
  const zoomTo = (wanted, x = .5, y = .5) => {
    const next = clamp(wanted, 1, most);
    left += x / zoom - x / next;
    top += y / zoom - y / next;
    zoom = next;
    draw();
  };
  const move = (x, y) => { left += x / zoom; top += y / zoom; draw(); };

  // The larger copy is loaded once a picture is looked at closely.
  const near = new Set();
  const sharpen = (view) => {
    const image = view.querySelector("img");
    if (view.href && image.getAttribute("src") !== view.getAttribute("href")) image.src = view.getAttribute("href");
  };
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) near.add(entry.target); else near.delete(entry.target);
      if (entry.isIntersecting && zoom > 1) sharpen(entry.target);
    }
  }, { rootMargin: "200px" });

  const at = (view, event) => {
    const box = view.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  const still = (view) => zoom === 1 && view.closest(".stage"); // There a press moves the divider.
  let held = null;
  const views = document.querySelectorAll(".view");
  for (const view of views) {
    if (view.href) watcher.observe(view);
    view.draggable = false;
    view.addEventListener("dragstart", (event) => event.preventDefault());
    view.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || still(view)) return;
      held = { view, x: event.clientX, y: event.clientY, moved: false };
    });
    view.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return; // The wheel alone scrolls the page.
      event.preventDefault();
      zoomTo(zoom * (event.deltaY < 0 ? 1.2 : 1 / 1.2), ...at(view, event));
    }, { passive: false });
    view.addEventListener("click", (event) => {
      if (event.detail === 0 || event.ctrlKey || event.metaKey || event.shiftKey) return; // From the keyboard, or for a new tab.
      event.preventDefault();
      if (held && held.moved) return;
      if (still(view)) return;
      if (zoom > 1) zoomTo(1); else zoomTo(3, ...at(view, event));
    });
    view.addEventListener("keydown", (event) => { if (keyed(event)) event.preventDefault(); });
  }
  addEventListener("pointermove", (event) => {
    if (!held || zoom === 1 || !(event.buttons & 1)) return;
    const box = held.view.getBoundingClientRect();
    const x = event.clientX - held.x, y = event.clientY - held.y;
    if (!held.moved && Math.hypot(x, y) < 4) return;
    held = { view: held.view, x: event.clientX, y: event.clientY, moved: true };
    move(-x / box.width, -y / box.height);
  });
  const keyed = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return false;
    const arrows = { ArrowLeft: [-.15, 0], ArrowRight: [.15, 0], ArrowUp: [0, -.15], ArrowDown: [0, .15] };
    if (event.key === "+" || event.key === "=") zoomTo(zoom * step);
    else if (event.key === "-") zoomTo(zoom / step);
    else if (event.key === "0") zoomTo(1);
    else if (zoom > 1 && event.key in arrows) move(...arrows[event.key]);
    else return false;
    return true;
  };
  document.getElementById("zoom-in").addEventListener("click", () => zoomTo(zoom * step));
  document.getElementById("zoom-out").addEventListener("click", () => zoomTo(zoom / step));
  document.getElementById("zoom-reset").addEventListener("click", () => zoomTo(1));
  root.classList.add("has-zoom");

  // Each slider is a stage with two layers and, below it, the range that says where the left one ends.
  for (const stage of document.querySelectorAll(".stage")) {
    const split = stage.parentElement.querySelector(".split input");
    const cut = () => {
      stage.style.setProperty("--split", `${split.value}%`);
      split.setAttribute("aria-valuetext", `left picture ${split.value} %`);
    };
    split.addEventListener("input", cut);
    cut();
    const image = stage.querySelector("img");
    stage.parentElement.style.setProperty("--aspect", image.getAttribute("width") / image.getAttribute("height"));
    // The divider can be dragged at any zoom, and the whole stage where there is nothing to move.
    const drag = (event) => {
      const box = stage.getBoundingClientRect();
      split.value = clamp(Math.round(100 * (event.clientX - box.left) / box.width), 0, 100);
      cut();
    };
    stage.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || (zoom > 1 && !event.target.classList.contains("divider"))) return;
      stage.setPointerCapture(event.pointerId);
      drag(event);
    });
    stage.addEventListener("pointermove", (event) => { if (stage.hasPointerCapture(event.pointerId)) drag(event); });
  }

  // What the two layers show is chosen where there is a choice.
  const choose = { left: document.getElementById("left"), right: document.getElementById("right") };
  if (!choose.left) return;
  const layers = JSON.parse(document.getElementById("data-layers").textContent);
  const show = (side) => {
    const [name, path] = layers[Number(choose[side].value)];
    const image = document.getElementById(`${side}-image`);
    image.src = `../${path}`;
    image.alt = name;
  };
  for (const side of ["left", "right"]) {
    choose[side].addEventListener("change", () => show(side));
    show(side);
  }
  document.getElementById("swap").addEventListener("click", () => {
    [choose.left.value, choose.right.value] = [choose.right.value, choose.left.value];
    show("left");
    show("right");
  });
})();

// What all widgets of the course share: native controls, a place for the picture, and the sentence that describes it.
// Python appends one file to this one; it defines draw(svg, view), which fills the picture and returns its height.
// Everything shown comes from the model's traits, so nothing here ever asks a kernel.

const SVG = "http://www.w3.org/2000/svg";

// Appends a new HTML or SVG element, whichever its parent is.
function add(parent, tag, attributes = {}, text = "") {
  const child = document.createElementNS(tag === "svg" ? SVG : parent.namespaceURI, tag);
  for (const [name, value] of Object.entries(attributes)) child.setAttribute(name, value);
  child.textContent = text;
  return parent.appendChild(child);
}

// The pixels as the address of a picture; value(i, j, k) is the colour k of row i and column j, 0 to 255.
function paint(rows, columns, value) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [columns, rows];
  const pixels = new ImageData(columns, rows);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      for (let k = 0; k < 3; k++) pixels.data[(i * columns + j) * 4 + k] = value(i, j, k);
      pixels.data[(i * columns + j) * 4 + 3] = 255;
    }
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas.toDataURL();
}

// JupyterLab moves between cells on arrow keys unless the element that has the focus asks it not to.
const KEYS_ARE_MINE = { "data-lm-suppress-shortcuts": "true" };

// A label, a range or select over the option indices, and a function that shows an index in them.
function addControl(parent, id, { label, options, kind }, choose) {
  const box = add(parent, "div", { class: "attncourse-control" });
  const head = add(box, "div", { class: "attncourse-control-head" });
  add(head, "label", { for: id }, label);
  if (kind === "select") {
    const select = add(box, "select", { id, ...KEYS_ARE_MINE });
    options.forEach((option, index) => add(select, "option", { value: index }, option));
    select.addEventListener("change", () => choose(Number(select.value)));
    return (index) => { select.value = index; };
  }
  // Seen, but not read aloud: aria-valuetext says the same.
  const shown = add(head, "span", { class: "attncourse-value", "aria-hidden": "true" });
  const range = add(box, "input", { id, type: "range", min: 0, max: options.length - 1, step: 1, ...KEYS_ARE_MINE });
  range.addEventListener("input", () => choose(Number(range.value)));
  return (index) => {
    range.value = index;
    range.setAttribute("aria-valuetext", options[index]);
    shown.textContent = options[index];
  };
}

function render({ model, el }) {
  // Random, not counted: every model loads its own copy of this module, and a model may be shown twice.
  const id = `attncourse-${Math.random().toString(36).slice(2)}`;
  const controls = model.get("controls");
  const bytes = model.get("data"); // a DataView that may start anywhere in its buffer: copy, to be aligned
  const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  const count = model.get("shape").reduce((product, size) => product * size, 1);
  // Little-endian float32, as Python wrote them; one byte a number means a photograph.
  const data = buffer.byteLength === count ? new Uint8ClampedArray(buffer) : new Float32Array(buffer);

  el.classList.add("attncourse-host");
  const root = add(el, "div", { class: "attncourse-widget", role: "group", "aria-labelledby": `${id}-title` });
  add(root, "p", { class: "attncourse-title", id: `${id}-title` }, model.get("label"));
  const form = add(root, "div", { class: "attncourse-controls" });
  const show = controls.map((control) => addControl(form, `${id}-${control.name}`, control, (index) => {
    model.set("state", { ...model.get("state"), [control.name]: index });
    model.save_changes();
  }));
  const svg = add(root, "svg", {
    role: "img", "aria-label": `Chart: ${model.get("label")}`, "aria-describedby": `${id}-summary`,
  });
  const summary = add(root, "p", { class: "attncourse-summary", id: `${id}-summary`, role: "status" });

  let width = 0;
  const update = () => {
    const state = model.get("state");
    const chosen = controls.map((control) => state[control.name]);
    chosen.forEach((index, k) => show[k](index));
    const place = chosen.reduce((sum, index, k) => sum * controls[k].options.length + index, 0);
    summary.textContent = model.get("summaries")[place];
    if (width === 0) return; // not laid out yet, or hidden
    svg.replaceChildren();
    const height = draw(svg, { width, state, data, shape: model.get("shape"), meta: model.get("meta"), controls });
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  };
  // One unit of the drawing is one pixel at any width, so that text keeps its size on a phone.
  const resized = new ResizeObserver(() => {
    const seen = svg.clientWidth && Math.max(260, svg.clientWidth);
    if (seen === width) return;
    width = seen;
    update();
  });
  resized.observe(root);
  model.on("change:state", update);
  update();
  return () => {
    resized.disconnect();
    model.off("change:state", update);
    root.remove();
  };
}

export default { render };

// A photograph, a Gaussian gate, and their product, pixel by pixel; the gate is gaussian_gate of attention.py.
// data is (height, width, 3), bytes.

const panels = new WeakMap(); // an svg's three images: kept, since a new one flashes until its browser has decoded it

function draw(svg, { width, state, data, shape, meta }) {
  const [rows, columns] = shape;
  const centre = [meta.rows[state.row], meta.columns[state.column]];
  const sigma = meta.sigmas[state.sigma];
  const gate = (i, j) => Math.exp(-((i - centre[0]) ** 2 + (j - centre[1]) ** 2) / (2 * sigma ** 2));
  const colour = (i, j, k) => data[(i * columns + j) * 3 + k];

  const places = arrange(width, rows / columns);
  if (!panels.has(svg)) {
    panels.set(svg, places.map(() => add(svg, "image", { preserveAspectRatio: "none" })));
    panels.get(svg)[0].setAttribute("href", paint(rows, columns, colour));
  }
  const [, second, third] = panels.get(svg);
  second.setAttribute("href", paint(rows, columns, (i, j) => 255 * gate(i, j)));
  third.setAttribute("href", paint(rows, columns, (i, j, k) => colour(i, j, k) * gate(i, j)));
  panels.get(svg).forEach((image, k) => {
    const { x, y, width, height, title } = places[k];
    for (const [name, value] of Object.entries({ x, y, width, height })) image.setAttribute(name, value);
    svg.append(image);
    add(svg, "rect", { x: x - 0.5, y: y - 0.5, width: width + 1, height: height + 1, class: "frame" });
    add(svg, "text", { x, y: y - 9, class: k === 2 ? "strong" : "quiet" }, title);
  });
  drawSigma(svg, places[1], centre.map((index, axis) => (index + 0.5) / shape[axis]), sigma / columns);
  const [times, equals] = places.signs;
  add(svg, "text", { ...times, class: "sign", "text-anchor": "middle" }, "×");
  add(svg, "text", { ...equals, class: "sign", "text-anchor": "middle" }, "=");
  return places.height;
}

// Three in a row where there is room; else photograph above gate, and the product beside them, larger.
function arrange(width, ratio) {
  const [gap, top] = [30, 24];
  const titles = ["photograph", "gate (ring: σ)", "product"];
  const wide = width >= 480;
  const side = wide ? (width - 2 * gap) / 3 : (width - gap - (top + gap) / ratio) / 3;
  const height = side * ratio;
  const below = top + height + gap + top; // where the gate starts when it stands under the photograph
  const place = (title, x, y, scale = 1) => ({ title, x, y, width: side * scale, height: height * scale });
  const places = wide
    ? titles.map((title, k) => place(title, k * (side + gap), top))
    : [place(titles[0], 0, top), place(titles[1], 0, below),
       place(titles[2], side + gap, top, (below + height - top) / height)];
  places.height = (wide ? top : below) + height + 2;
  const middle = top + height / 2 + 7;
  places.signs = wide
    ? [{ x: side + gap / 2, y: middle }, { x: 2 * side + 1.5 * gap, y: middle }]
    : [{ x: side / 2, y: top + height + 24 }, { x: side + gap / 2, y: (top + below + height) / 2 + 7 }];
  return places;
}

// A ring one σ from the centre, where the gate is 0.61; an inner svg cuts off what leaves the panel.
function drawSigma(svg, { x, y, width, height }, [row, column], share) {
  const clip = add(svg, "svg", { x, y, width, height });
  const [cx, cy, r] = [column * width, row * height, share * width];
  add(clip, "circle", { cx, cy, r, class: "ring" });
}

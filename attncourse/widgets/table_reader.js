// Every row of a table as its difference from one row, with the 95% interval; those that leave 0 out are coloured.
// data is (bases, runs, rows, 2): difference and half width, in points.

function draw(svg, { width, state, data, shape, meta, controls }) {
  const [, runs, rows] = shape;
  const at = (run, row, what) => data[((state.base * runs + run) * rows + row) * 2 + what];
  const others = meta.names.map((_, row) => row).filter((row) => row !== state.base);

  // The axis does not move with the number of runs: the widest intervals are those of the fewest runs.
  const low = Math.min(0, ...others.map((row) => at(0, row, 0) - at(0, row, 1))) - 0.3;
  const high = Math.max(0, ...others.map((row) => at(0, row, 0) + at(0, row, 1))) + 0.3;
  const wide = width >= 520;
  const [x0, x1] = [wide ? 190 : 4, width - 10];
  const x = (points) => x0 + (x1 - x0) * (points - low) / (high - low);
  const step = wide ? 30 : 46;
  const bottom = 34 + step * others.length;

  const title = `${controls[1].options[state.runs]} runs a side, difference from ${meta.names[state.base]}`;
  add(svg, "text", { x: 0, y: 13, class: "strong" }, title);
  for (let points = Math.ceil(low / 2) * 2; points <= high; points += 2) {
    add(svg, "line", { x1: x(points), x2: x(points), y1: 26, y2: bottom, class: points === 0 ? "leader" : "grid" });
    const number = (points > 0 ? "+" : "") + String(points).replace("-", "−");
    add(svg, "text", { x: x(points), y: bottom + 17, class: "quiet", "text-anchor": "middle" }, number);
  }
  others.forEach((row, n) => {
    const y = 34 + step * n + (wide ? step / 2 : 30);
    const [difference, half] = [at(state.runs, row, 0), at(state.runs, row, 1)];
    const tone = Math.abs(difference) <= half ? "quiet" : difference > 0 ? "up" : "down";
    const name = wide ? { x: 0, y: y + 4 } : { x: 0, y: y - 12 };
    add(svg, "text", { ...name, class: tone === "quiet" ? "" : tone }, meta.names[row]);
    const stem = add(svg, "g", { class: tone });
    const number = difference.toFixed(1).replace("-", "−");
    add(stem, "title", {}, `${meta.names[row]}: ${number} ± ${half.toFixed(1)} points`);
    const line = { x1: x(difference - half), x2: x(difference + half), y1: y, y2: y };
    add(stem, "line", tone === "quiet" ? { ...line, class: "mean" } : { ...line, "stroke-width": 2.5 });
    add(stem, "circle", { cx: x(difference), cy: y, r: 4.5, class: tone === "quiet" ? "mark pale" : tone });
  });
  const words = "points of test accuracy, with 95% interval";
  add(svg, "text", { x: (x0 + x1) / 2, y: bottom + 35, class: "quiet", "text-anchor": "middle" }, words);
  return bottom + 42;
}

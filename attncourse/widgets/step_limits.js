// One row for each number of seeds side by side: the least time of a step for each seed, split by what holds it up.
// data is (machines, networks, images, seeds, 3): the seconds in which starts, bytes and FLOPs hold operations up.

const LIMITS = [["starts", "mark"], ["bytes", "shade"], ["FLOPs", "down"]];

function time(seconds) {
  const [unit, size] = seconds >= 1 ? ["s", 1] : seconds >= 1e-3 ? ["ms", 1e-3] : ["µs", 1e-6];
  const value = seconds / size;
  return `${value >= 100 ? value.toFixed(0) : Number(value.toPrecision(3))} ${unit}`;
}

function draw(svg, { width, state, data, shape, controls }) {
  const first = ((state.machine * shape[1] + state.network) * shape[2] + state.images) * shape[3];
  const at = (row, limit) => data[(first + row) * 3 + limit];
  const counts = controls[3].options;
  const totals = counts.map((_, row) => at(row, 0) + at(row, 1) + at(row, 2));
  const scale = (width - 30 - 72) / Math.max(...totals); // 30 px for the counts, 72 for the longest time

  add(svg, "text", { x: 0, y: 13, class: "strong" }, "Least time of these operations, for each seed");
  LIMITS.forEach(([name, tone], limit) => {
    add(svg, "rect", { x: 76 * limit, y: 25, width: 12, height: 12, class: tone });
    add(svg, "text", { x: 76 * limit + 18, y: 35 }, name);
  });
  counts.forEach((count, row) => {
    const y = 50 + 26 * row;
    const tone = row === state.seeds ? "strong" : "quiet";
    add(svg, "text", { x: 20, y: y + 14, class: tone, "text-anchor": "end" }, count);
    let x = 30;
    LIMITS.forEach(([, shade], limit) => {
      const length = scale * at(row, limit);
      add(svg, "rect", { x, y, width: length, height: 19, class: shade });
      x += length;
    });
    if (row === state.seeds) add(svg, "rect", { x: 29, y: y - 1, width: x - 28, height: 21, class: "frame" });
    add(svg, "text", { x: x + 7, y: y + 14, class: tone }, time(totals[row]));
  });
  const end = 50 + 26 * counts.length;
  add(svg, "text", { x: 0, y: end + 14, class: "quiet" }, "↑ seeds side by side");
  add(svg, "text", { x: 0, y: end + 34, class: "quiet" }, "each started by itself, every map through memory");
  return end + 40;
}

// A click on a legend hides or shows at once. Plotly waits half a second whether a second click follows; here
// the second one, which shows a group alone, first takes back what the first did.
(() => {
  const known = new WeakSet();

  function hasten(graph) {
    if (known.has(graph) || !graph.on) return;
    known.add(graph);
    let before = [], latest = []; // what was visible before the click before, and before this one
    graph.on("plotly_legendclick", ({ config, fullData }) => {
      [before, latest] = [latest, fullData.map((trace) => trace.visible)];
      const patience = config.doubleClickDelay;
      config.doubleClickDelay = 0;
      queueMicrotask(() => (config.doubleClickDelay = patience));
    });
    graph.on("plotly_legenddoubleclick", ({ fullData }) => {
      fullData.forEach((trace, i) => (trace.visible = before[i]));
    });
  }

  // Plotly takes two quick clicks on two entries for a double click on the second.
  let last = "";
  document.addEventListener(
    "mousedown",
    ({ target }) => {
      const graph = target.closest?.(".js-plotly-plot");
      if (!graph || !target.classList.contains("legendtoggle")) return;
      const entry = `${graph.parentNode.id} ${[...graph.querySelectorAll(".legendtoggle")].indexOf(target)}`;
      if (entry !== last) graph._legendMouseDownTime = 0;
      last = entry;
    },
    true,
  );

  new MutationObserver(() => document.querySelectorAll(".js-plotly-plot").forEach(hasten)).observe(document, {
    childList: true,
    subtree: true,
  });
})();

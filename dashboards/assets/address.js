// What is on show stands in the address, so that it can be sent to somebody; the title says what that is.
(() => {
  const known = { sweep: null };
  let path = null;

  function write(wanted) {
    console.error("WRITE", JSON.stringify(wanted), JSON.stringify(known), path, window.location.href);
    const { pathname, search, hash } = window.location;
    const params = new URLSearchParams(pathname === path ? search : "");
    path = pathname;
    for (const [name, value] of Object.entries({ ...known, ...wanted })) {
      const text = Array.isArray(value) ? value.join(" ") : value;
      if (text === null || text === undefined || text === "") params.delete(name);
      else params.set(name, text);
    }
    const next = params.size ? `?${params}` : "";
    if (next !== search) window.history.replaceState(window.history.state, "", pathname + next + hash);
    return window.dash_clientside.no_update;
  }

  // The view's own words come from the menu above it, which says which of them is on show.
  function shell(pathname, sweep, views) {
    if (path === null) path = window.location.pathname; // what was asked for at first stays
    known.sweep = sweep ?? null;
    const view = document.querySelector("#nav a.here")?.textContent || "Trial";
    document.title = [view, sweep, "Rayduce"].filter(Boolean).join(" · ");
    return write({});
  }

  const front = (x, y, z, colour, overlay, scale, ended, bytes, drop, latency, ram) =>
    write({
      x, y, colour, overlay, scale,
      z: z === "none" ? null : z,
      ended: ended?.length === 0 ? "hidden" : null,
      "max-bytes": bytes, "max-drop": drop, "max-latency": latency, "max-ram": ram,
    });

  const pair = (left, right) => write({ left, right });

  window.dash_clientside = Object.assign({}, window.dash_clientside, { address: { shell, front, pair } });
})();

// What is on show stands in the address, so that it can be sent to somebody; the title says what that is.
(() => {
  const first = { path: window.location.pathname, search: window.location.search };
  let path = first.path;
  let wanted = {};
  let sweep = null;

  function apply() {
    const { pathname, search, hash } = window.location;
    if (pathname !== path) {
      path = pathname;
      wanted = {};
      first.path = null; // what was asked for at first was asked of another view
    }
    const params = new URLSearchParams(first.path === path ? first.search : "");
    const known = sweep === null ? wanted : { sweep, ...wanted }; // until the menu has it, it stays as it was asked for
    for (const [name, value] of Object.entries(known)) {
      const text = Array.isArray(value) ? value.join(" ") : value;
      if (text === null || text === undefined || text === "") params.delete(name);
      else params.set(name, text);
    }
    const next = params.size ? `?${params}` : "";
    if (next !== search) window.history.replaceState(window.history.state, "", pathname + next + hash);
  }

  function write(more) {
    if (window.location.pathname !== path) apply();
    Object.assign(wanted, more);
    apply();
    window.setTimeout(apply, 300); // Dash puts its own address back while a page begins
    return window.dash_clientside.no_update;
  }

  function shell(pathname, name) {
    if (name) sweep = name;
    const view = document.querySelector("#nav a.here")?.textContent || (pathname === "/pair" ? "Two students" : "Trial");
    document.title = [view, name, "Rayduce"].filter(Boolean).join(" · ");
    return write({});
  }

  const front = (x, y, z, colour, overlay, scale, ended, bytes, drop, latency, ram) =>
    write({
      x, y, colour, overlay, scale,
      z: z === "none" ? null : z,
      ended: ended?.length === 0 ? "hidden" : null,
      "max-bytes": bytes, "max-drop": drop, "max-latency": latency, "max-ram": ram,
    });

  window.dash_clientside = Object.assign({}, window.dash_clientside, { address: { shell, front } });
})();

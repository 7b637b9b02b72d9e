// What Dash's components owe to those who do not see the page, or use no mouse.
(() => {
  // A menu puts a hidden field before its button that takes the focus on: readers of screens meet a field
  // without a name. The button takes the focus itself, and is called by its label and its value.
  function menus() {
    for (const field of document.querySelectorAll("input.dash-dropdown-focus-target")) {
      const button = field.parentElement.querySelector("button.dash-dropdown");
      if (!button || field.tabIndex === -1) continue;
      field.tabIndex = -1;
      button.tabIndex = 0;
      const label = document.querySelector(`label[for="${CSS.escape(button.id)}"]`);
      if (!label) continue;
      label.id = `label-${button.id}`;
      button.setAttribute("aria-labelledby", `${label.id} ${button.getAttribute("aria-labelledby") || ""}`.trim());
    }
  }

  // Check boxes are no options of a list: they are a group, and each says itself whether it is ticked.
  function boxes() {
    for (const list of document.querySelectorAll(".dash-checklist[role=listbox]")) {
      list.setAttribute("role", "group");
      list.setAttribute("aria-label", "Show also");
    }
    for (const option of document.querySelectorAll(".dash-checklist [role=option]")) option.removeAttribute("role");
    for (const option of document.querySelectorAll(".dash-checklist [aria-selected]")) {
      option.removeAttribute("aria-selected");
    }
  }

  // What scrolls sideways, as tables do on a phone, is scrolled by keys, too.
  function scrollers() {
    for (const box of document.querySelectorAll(".scroll")) {
      const scrolls = box.scrollWidth > box.clientWidth + 1;
      if (scrolls && box.tabIndex !== 0) box.tabIndex = 0;
    }
  }

  let waiting = false;
  const soon = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      menus();
      boxes();
      scrollers();
    });
  };
  // A figure draws something whenever the pointer moves, and has none of what is looked after here.
  const figure = ({ target }) => target.closest?.(".js-plotly-plot");
  new MutationObserver((changes) => changes.every(figure) || soon()).observe(document.documentElement, {
    childList: true,
    subtree: true,
    attributes: true,
    attributeFilter: ["role", "aria-selected"],
  });
})();

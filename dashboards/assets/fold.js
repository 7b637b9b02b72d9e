// What is folded on a phone stands open elsewhere, where its heading is not shown.
(() => {
  const narrow = window.matchMedia("(max-width: 600px)");
  const known = new WeakSet();
  const settle = (fold) => (fold.open = !narrow.matches);
  const all = () => document.querySelectorAll("details.fold");
  narrow.addEventListener("change", () => all().forEach(settle));
  new MutationObserver(() =>
    all().forEach((fold) => {
      if (known.has(fold)) return;
      known.add(fold);
      settle(fold);
    }),
  ).observe(document, { childList: true, subtree: true });
})();

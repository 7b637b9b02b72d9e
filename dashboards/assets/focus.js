// A table that is drawn anew replaces the heading that was pressed: its successor gets the keyboard's focus,
// so that who works without a mouse need not start again at the top of the page.
(() => {
  let held = null;
  document.addEventListener("focusin", (event) => {
    held = event.target.closest("#table") ? event.target.id : null;
  });
  document.addEventListener("pointerdown", (event) => {
    if (!event.target.closest("#table")) held = null;
  });
  new MutationObserver(() => {
    if (!held || document.activeElement !== document.body) return;
    const successor = document.getElementById(held);
    if (successor) successor.focus();
  }).observe(document, { childList: true, subtree: true });
})();

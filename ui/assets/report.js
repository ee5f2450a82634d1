// The panel of a report: whatever says data-report opens it; it is a dialog, so that the page behind it waits.
(() => {
  const panel = () => document.querySelector("#ez-report dialog");
  document.addEventListener("click", (event) => {
    const source = event.target.closest?.("[data-report]");
    const open = source && document.querySelector('#ez-report [data-act="open"]');
    if (!open) return;
    open.dataset.run = source.dataset.report;
    open.click();
  });
  // a tick paints it anew: the new one is opened where the old one was read
  let top = 0;
  document.addEventListener("scroll", (event) => event.target.matches?.(".ez-report-text") && (top = event.target.scrollTop), true);
  new MutationObserver(() => {
    const dialog = panel();
    if (!dialog) return void (top = 0);
    if (dialog.open) return;
    dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      dialog.querySelector('[data-act="close"]').click();
    });
    dialog.showModal();
    const text = dialog.querySelector(".ez-report-text");
    if (text) text.scrollTop = top;
    (text || dialog).focus();
  }).observe(document.documentElement, { childList: true, subtree: true });
})();

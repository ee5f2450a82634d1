// The queue: a run is dragged to another place; what had the focus has it again when the list was painted anew.  And times to begin at.
(() => {
  const easel = (window.easel = window.easel || {});
  easel.queue = (element, trigger, watch) => {
    let dragged = null;
    let focused = null;
    const rows = () => [...element.querySelectorAll(".ez-queued")];
    const over = (event) => event.target.closest?.(".ez-queued");
    const clear = () => rows().forEach((row) => row.classList.remove("is-over", "is-dragged"));
    element.addEventListener("dragstart", (event) => {
      dragged = over(event)?.dataset.id ?? null;
      if (!dragged) return;
      event.dataTransfer.effectAllowed = "move";
      event.dataTransfer.setData("text/plain", dragged);
      over(event).classList.add("is-dragged");
    });
    element.addEventListener("dragover", (event) => {
      const row = over(event);
      if (!dragged || !row) return;
      event.preventDefault();
      rows().forEach((one) => one.classList.toggle("is-over", one === row && row.dataset.id !== dragged));
    });
    element.addEventListener("drop", (event) => {
      const row = over(event);
      if (!dragged || !row) return;
      event.preventDefault();
      const place = rows().indexOf(row) + 1;
      if (row.dataset.id !== dragged) trigger("act", { act: "queue-move", id: dragged, value: String(place) });
      dragged = null;
      clear();
    });
    element.addEventListener("dragend", () => {
      dragged = null;
      clear();
    });
    element.addEventListener("click", (event) => {
      const button = event.target.closest("button[data-act][data-id]");
      focused = button ? { act: button.dataset.act, id: button.dataset.id } : null;
    });
    watch("value", () => {
      const { act, id } = focused || {};
      const at = document.activeElement; // a row may be painted with what stood below it: the focus follows the run
      if (!act || (at && at !== document.body && !element.contains(at))) return;
      const buttons = [...element.querySelectorAll("button[data-act][data-id]")].filter((one) => one.dataset.id === id && !one.disabled);
      (buttons.find((one) => one.dataset.act === act) || buttons.find((one) => /queue-(up|down)/.test(one.dataset.act)))?.focus();
    });
  };
  // a time is typed in the browser's own clock, and sent as UTC seconds: the computer that trains may be elsewhere
  document.addEventListener("input", (event) => {
    const field = event.target;
    if (!field.dataset?.at) return;
    const hidden = document.getElementById(field.dataset.at);
    const at = Math.round(new Date(field.value).getTime() / 1000);
    if (hidden) hidden.value = Number.isFinite(at) ? String(at) : "";
  });
})();

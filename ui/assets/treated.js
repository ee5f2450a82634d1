// A picture as it is learnt, turned and mirrored, on the large view; the buttons for it below, and the keys R, Shift R, M and X.
(() => {
  const easel = (window.easel = window.easel || {});
  const KEYS = { R: "left", r: "right", m: "mirror", x: "out" };
  // element: the page of tiles.  box: the large view.  current(): the link that it shows.  Gives what is called with each link that is shown.
  easel.treated = (element, box, current, fire) => {
    const buttons = [...element.querySelectorAll(".ez-picks [data-act=treat]")];
    const tile = () => current().closest("[data-id]");
    const tools = document.createElement("div");
    tools.className = "ez-zoom-tools";
    for (const button of buttons) {
      const made = button.cloneNode(true);
      made.removeAttribute("data-act");
      made.title = `${button.title} (${button.dataset.keys})`;
      tools.append(made);
    }
    const can = (key) => tile() && !current().matches(".ez-twin") && (key === "in" || key === "out" ? "out" in tile().dataset === (key === "in") : !("plays" in current().dataset || "seconds" in current().dataset));
    const press = (key) => {
      if (key === "out" && !can(key)) key = "in";
      if (buttons.length && can(key)) fire({ act: "treat", page: 0, ids: [tile().dataset.id], key });
    };
    tools.addEventListener("click", (event) => {
      event.stopPropagation(); // a click beside the picture closes it
      const button = event.target.closest("[data-key]");
      if (button) press(button.dataset.key);
    });
    box.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("textarea, input")) return;
      const key = KEYS[event.shiftKey && event.key.toLowerCase() === "r" ? "R" : event.key.toLowerCase()];
      if (!key || !buttons.length) return;
      event.preventDefault();
      press(key);
    });
    if (buttons.length) box.querySelector("figure").append(tools);
    return (link) => {
      const view = link.dataset.turned || "";
      const turns = Number(view[0]) || 0;
      const shown = box.querySelector(".ez-shown");
      shown.classList.toggle("is-sideways", turns % 2 === 1);
      shown.style.setProperty("--ratio", link.dataset.ratio || "1");
      shown.style.setProperty("--wide", `${link.dataset.wide || 0}px`);
      shown.style.setProperty("--turn", `${view.endsWith("m") ? "scaleX(-1) " : ""}rotate(${turns * 90}deg)`);
      shown.classList.toggle("is-turned", !!view);
      box.classList.toggle("is-out", !!tile() && "out" in tile().dataset);
      for (const button of tools.children) button.hidden = !can(button.dataset.key);
    };
  };
})();

// Before and after beside each other on the large view, where a picture is made from others.
(() => {
  const easel = (window.easel = window.easel || {});
  // box: the large view.  Gives what is called with each link that is shown.
  easel.befores = (box) => {
    const shown = box.querySelector(".ez-shown");
    const row = document.createElement("div");
    row.className = "ez-befores";
    shown.before(row);
    row.append(shown);
    const [before, after] = [tr("Before"), tr("After")];
    const named = document.createElement("b");
    named.textContent = after;
    return (link) => {
      row.querySelectorAll("span[data-before]").forEach((one) => one.remove());
      const urls = JSON.parse(link.dataset.befores || "[]");
      row.classList.toggle("is-pair", urls.length > 0);
      row.style.setProperty("--of", urls.length + 1);
      urls.forEach((url, n) => {
        const one = document.createElement("span");
        one.dataset.before = "";
        one.className = "ez-before-one";
        const [picture, label] = [document.createElement("img"), document.createElement("b")];
        picture.src = url;
        picture.alt = label.textContent = urls.length > 1 ? `${before} ${n + 1}` : before;
        one.append(picture, label);
        shown.before(one);
      });
      urls.length ? shown.append(named) : named.remove();
    };
  };
  // How many of the selected ones have something that can be taken away.
  easel.pairsPicked = (element) => {
    const button = element.querySelector(".ez-picks [data-act=unpair]");
    if (button) button.hidden = !element.querySelector("[data-id][data-pair] [data-pick]:checked");
  };
})();

// Easel: the theme that was chosen, and links between tabs.
(() => {
  const KEY = "easel-theme";
  const wanted = () => localStorage.getItem(KEY) || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  const apply = () => {
    const dark = wanted() === "dark";
    if (document.body.classList.contains("dark") !== dark) document.body.classList.toggle("dark", dark);
  };
  const start = () => {
    apply();
    new MutationObserver(apply).observe(document.body, { attributes: true, attributeFilter: ["class"] });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", apply);
  };
  document.body ? start() : document.addEventListener("DOMContentLoaded", start);
  const easel = (window.easel = window.easel || {});
  easel.go = (tab) => {
    document.getElementById(`ez-tab-${tab}-button`)?.click();
    window.scrollTo({ top: 0 });
  };
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("[data-tab]");
    if (link) easel.go(link.dataset.tab);
    if (event.target.closest?.("[data-theme-toggle]")) {
      localStorage.setItem(KEY, wanted() === "dark" ? "light" : "dark");
      apply();
    }
  });
})();

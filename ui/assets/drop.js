// Pictures dropped anywhere on the page, folders among them, and pictures pasted: all go to the Dataset tab's own upload; a file of weights to that of Tools.
(() => {
  const easel = (window.easel = window.easel || {});
  const PART_BYTES = 1e9; // of one upload; the server takes 2 GB
  const PART_FILES = 20000; // what the server opens of one ZIP
  const JUNK = /(^\.)|^(thumbs\.db|desktop\.ini)$/i;

  // A file box that can take something now: the first screen's, or the one of the tab.
  const box = () => [...document.querySelectorAll("#ez-welcome .ez-drop, #ez-work .ez-drop:not(#ez-before-file)")].find((b) => b.offsetParent);
  const waitFor = async (find, ms) => {
    for (const end = Date.now() + ms; Date.now() < end; await new Promise((r) => setTimeout(r, 60))) if (find()) return find();
    return null;
  };
  const say = (text) => {
    let line = document.getElementById("ez-drop-said");
    if (!line) {
      line = document.createElement("div");
      line.id = "ez-drop-said";
      line.setAttribute("role", "status");
      document.body.append(line);
    }
    line.textContent = text;
    line.hidden = !text;
    clearTimeout(line.timer);
    line.timer = setTimeout(() => (line.hidden = true), 9000);
  };

  // Everything below what was dropped: [{path, file}].  readEntries gives at most 100 at a time.
  const walk = async (entry, place, found) => {
    if (JUNK.test(entry.name)) return;
    if (entry.isFile) return void found.push({ path: place + entry.name, file: await new Promise((yes, no) => entry.file(yes, no)) });
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((yes, no) => reader.readEntries(yes, no));
      if (!some.length) return;
      for (const one of some) await walk(one, `${place}${entry.name}/`, found);
    }
  };

  // A ZIP that only stores: it keeps the folders, which an upload of single files would lose.
  const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
    for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
    return n;
  });
  const crc = async (file) => {
    let sum = ~0;
    for (let at = 0; at < file.size; at += 1 << 24) {
      for (const byte of new Uint8Array(await file.slice(at, at + (1 << 24)).arrayBuffer())) sum = TABLE[(sum ^ byte) & 255] ^ (sum >>> 8);
    }
    return ~sum >>> 0;
  };
  const record = (...fields) => {
    const view = new DataView(new ArrayBuffer(fields.reduce((n, [size]) => n + size, 0)));
    let at = 0;
    for (const [size, value] of fields) {
      size === 4 ? view.setUint32(at, value, true) : view.setUint16(at, value, true);
      at += size;
    }
    return view.buffer;
  };
  const zip = async (files, name) => {
    const [parts, index] = [[], []];
    let [at, length] = [0, 0];
    for (const { path, file } of files) {
      const title = new TextEncoder().encode(path);
      // version 20, names in UTF-8, stored, 1980-01-01
      const about = [[2, 20], [2, 0x800], [2, 0], [2, 0], [2, 0x21], [4, await crc(file)], [4, file.size], [4, file.size], [2, title.length], [2, 0]];
      parts.push(record([4, 0x04034b50], ...about), title, file);
      index.push(record([4, 0x02014b50], [2, 20], ...about, [2, 0], [2, 0], [2, 0], [4, 0], [4, at]), title);
      at += 30 + title.length + file.size;
      length += 46 + title.length;
    }
    const end = record([4, 0x06054b50], [2, 0], [2, 0], [2, files.length], [2, files.length], [4, length], [4, at], [2, 0]);
    return new File([...parts, ...index, end], name, { type: "application/zip" });
  };
  const packed = async (files, name) => {
    const packs = [[]];
    let size = 0;
    for (const one of files.sort((a, b) => (a.path < b.path ? -1 : 1))) {
      if (packs.at(-1).length && (size + one.file.size > PART_BYTES || packs.at(-1).length >= PART_FILES)) {
        packs.push([]);
        size = 0;
      }
      size += one.file.size;
      packs.at(-1).push(one);
    }
    return Promise.all(packs.map((pack, n) => zip(pack, `${name}${packs.length > 1 ? `-${n + 1}` : ""}.zip`)));
  };

  const weights = (files) => files.length === 1 && /\.safetensors$/i.test(files[0].name);
  // A job file of another trainer; JSON only where the Train tab is looked at, elsewhere it lies beside pictures.
  const settings = (files) => files.length === 1 && (/\.(toml|ya?ml)$/i.test(files[0].name) || (easel.shown?.() === "train" && /\.json$/i.test(files[0].name)));
  const run = (files) => easel.shown?.() === "results" && files.length === 1 && /\.zip$/i.test(files[0].name);
  // A picture for what the Playground draws with, where it asks for one.
  const asked = () => [...document.querySelectorAll("#ez-play .ez-drop")].find((b) => b.offsetParent);
  const shown = (files) => files.length === 1 && /\.(png|jpe?g|webp)$/i.test(files[0].name) && easel.shown?.() === "playground" && asked();
  // What one picture of the dataset is made from, where the Dataset tab asks for it.
  const before = () => [document.getElementById("ez-before-file")].find((b) => b?.offsetParent);
  const pictures = (files) => files.every((file) => /\.(png|jpe?g|webp|heic|avif|bmp|tiff?)$/i.test(file.name));
  const send = async (files) => {
    if (before() && pictures(files)) return into("dataset", before, files, tr("Another picture is still on its way; drop this again when it is in."));
    if (run(files)) {
      const fold = document.querySelector("#ez-bring-run > .label-wrap");
      if (fold && !fold.classList.contains("open")) fold.click();
      return into("results", () => document.querySelector("#ez-bring-run .ez-drop"), files, tr("Another run is still on its way; drop this again when it is in."));
    }
    if (shown(files)) return into("playground", asked, files, tr("Another picture is still on its way; drop this again when it is in."));
    if (settings(files)) return into("train", () => document.querySelector("#ez-train .ez-drop"), files, tr("Another file is still on its way; drop this again when it is in."));
    if (weights(files)) return into("tools", () => document.querySelector("#ez-tools .ez-drop"), files, tr("Another file is still on its way; drop this again when it is in."));
    return into("dataset", box, files, tr("Other pictures are still on their way; drop these again when they are in."));
  };
  const into = async (tab, find, files, busy) => {
    if (easel.shown?.() !== tab) easel.go(tab);
    const input = await waitFor(() => find()?.querySelector("input[type=file]"), 4000);
    if (!input) return say(busy);
    const data = new DataTransfer();
    for (const file of files) data.items.add(file);
    input.files = data.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
    say("");
  };

  const brought = (event) => [...(event.dataTransfer?.types || [])].includes("Files");
  const mark = (on) => document.documentElement.classList.toggle("ez-dropping", on);
  for (const kind of ["dragenter", "dragover"]) {
    window.addEventListener(kind, (event) => {
      if (!brought(event)) return;
      event.preventDefault(); // or the browser would open the file in place of this page
      event.dataTransfer.dropEffect = "copy";
      mark(true);
    }, true);
  }
  window.addEventListener("dragleave", (event) => event.relatedTarget || mark(false), true);
  window.addEventListener("drop", async (event) => {
    mark(false);
    if (!brought(event)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    // both must be asked for before the first await: the browser empties them then
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const plain = [...event.dataTransfer.files];
    const folders = entries.filter((entry) => entry.isDirectory);
    if (!folders.length) return plain.length ? send(plain) : say(tr("Nothing in that could be read. Save it as a file first, then drop the file."));
    try {
      say(folders.length === 1 ? tr("Reading {folder} …", { folder: folders[0].name }) : trn("Reading {n} folder …", "Reading {n} folders …", folders.length));
      const found = [];
      for (const entry of entries) await walk(entry, "", found);
      // a ZIP in a folder is not opened where it lies: it goes by itself
      const [zips, others] = [found.filter((f) => /\.zip$/i.test(f.path)), found.filter((f) => !/\.zip$/i.test(f.path))];
      if (!found.length) return say(tr("There is nothing in {folder}.", { folder: folders[0].name }));
      if (found.some((f) => f.file.size >= 2e9)) return say(tr("A file in that folder is larger than 2 GB. Leave it out, and drop the rest."));
      await send([...(others.length ? await packed(others, folders[0].name) : []), ...zips.map((f) => f.file)]);
    } catch (error) {
      say(tr("The folder could not be read ({error}). Open it, select what is inside, and drop that; or pack the folder as a ZIP.", { error: error.message }));
    }
  }, true);

  window.addEventListener("paste", (event) => {
    const typing = event.target.closest?.("textarea, input, [contenteditable=true]");
    const files = [...(event.clipboardData?.files || [])];
    if (!files.length || (typing && event.clipboardData.getData("text/plain"))) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const now = new Date().toISOString().slice(0, 19).replace(/\D/g, "-");
    // the browser calls each pasted picture image.png
    send(files.map((file, n) => (/^image\.\w+$/.test(file.name) ? new File([file], file.name.replace("image", `pasted-${now}${n ? `-${n + 1}` : ""}`), { type: file.type }) : file)));
  }, true);
})();

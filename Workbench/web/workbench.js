// What a page must do by itself: send files, ask before it is left with unsaved work, pass keys on.
(function () {
  const KEYS = {
    p: "paint", e: "erase", x: "scissors", Escape: "none", "+": "larger", "-": "smaller", f: "go_to", h: "hide",
    n: "next", b: "previous", "?": "shortcuts", "ctrl+z": "undo", "ctrl+y": "redo", "ctrl+shift+z": "redo",
    "ctrl+s": "save", r: "fit",
  };

  // Where letters are typed; a switch or slider that has the focus takes none.
  const TYPED = "textarea, [contenteditable], input:not([type=checkbox], [type=radio], [type=range])";

  async function send(files) {
    if (!files || !files.length) return;
    const form = new FormData();
    for (const file of files) form.append("file", file, file.name);
    trame.state.update({ sending: true, notice: "", can_force: false });
    try {
      const answer = await fetch("upload", { method: "POST", body: form });
      if (!answer.ok) trame.state.set("notice", await answer.text());
    } catch (error) {
      trame.state.set("notice", "The upload was interrupted: check that the workbench still runs.");
    }
    trame.state.set("sending", false);
  }

  // A folder that is dropped holds files in folders.
  async function dropped(items) {
    const entries = [...items].map((item) => item.webkitGetAsEntry && item.webkitGetAsEntry()).filter(Boolean);
    const files = [];
    while (entries.length) {
      const entry = entries.pop();
      if (entry.isFile) {
        files.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
      } else {
        const reader = entry.createReader();
        for (;;) {
          const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
          if (!some.length) break;
          entries.push(...some);
        }
      }
    }
    return files;
  }

  function choose(folder) {
    const input = document.createElement("input");
    input.type = "file";
    input.id = "choose-file";
    input.multiple = true;
    input.webkitdirectory = folder;
    input.style.display = "none";
    document.getElementById("choose-file")?.remove();
    document.body.append(input);
    input.addEventListener("change", () => { send(input.files); input.remove(); });
    input.click();
  }

  function download(address) {
    const link = document.createElement("a");
    link.href = address;
    link.download = "";
    document.body.append(link);
    link.click();
    link.remove();
  }

  // Entries of the worklist that hold all words of a filter.
  function matching(entries, filter) {
    const words = (filter || "").toLowerCase().split(/\s+/);
    return entries.filter((entry) => {
      const text = [entry.number, entry.name, entry.state.replace("_", " "), entry.reason, entry.notes].join(" ");
      return words.every((word) => text.toLowerCase().includes(word));
    });
  }

  // What isn't shown can't be scrolled to, so this is called again when its tab is.
  function showEntry(number) {
    setTimeout(() => document.querySelector(`[data-entry="${number}"]`)?.scrollIntoView({ block: "nearest" }), 50);
  }

  window.workbench = { choose, download, matching, showEntry };

  window.addEventListener("keydown", (event) => {
    const command = event.ctrlKey || event.metaKey;
    const prefix = (command ? "ctrl+" : "") + (command && event.shiftKey ? "shift+" : "");
    const key = prefix + (event.key.length === 1 ? event.key.toLowerCase() : event.key);
    if (!(key in KEYS) || (event.target.closest(TYPED) && key !== "ctrl+s")) return;
    // Never the browser's own, which would save the page.
    if (command) event.preventDefault();
    // A dialog or menu that is open takes the keys, Esc too; the list of keys goes by the one that it came by.
    if (key !== "?" && document.querySelector(".v-overlay--active")) return;
    event.preventDefault();
    event.stopPropagation();
    if (!event.repeat || key === "+" || key === "-") trame.trigger("workbench_key", [KEYS[key]]);
  }, true);

  // A stroke that ends over a slider must reach the view.
  window.addEventListener("pointerdown", (event) => {
    const inView = event.target.closest(".views") && !event.target.closest(".view-slider, .view-button");
    document.body.classList.toggle("drawing", Boolean(inView));
  }, true);
  for (const name of ["pointerup", "pointercancel"]) {
    window.addEventListener(name, () => setTimeout(() => document.body.classList.remove("drawing")), true);
  }

  // First in line, as trame's own listener closes the connection, also where the user then stays.
  window.addEventListener("beforeunload", (event) => {
    if (!trame.state.get("unsaved")) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }, true);

  for (const name of ["dragover", "dragleave", "drop"]) {
    window.addEventListener(name, (event) => {
      event.preventDefault();
      document.body.classList.toggle("dropping", name === "dragover");
      if (name === "drop") dropped(event.dataTransfer.items).then(send);
    });
  }
})();

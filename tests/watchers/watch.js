// Watches a directory with chokidar, as most programs on Node do, and prints "event name content" for each event.
const chokidar = require("chokidar");
const fs = require("fs");
const path = require("path");

const watcher = chokidar.watch(process.argv[2], { ignoreInitial: true });
watcher.on("ready", () => console.log("ready"));
watcher.on("all", (event, file) => {
  const content = fs.existsSync(file) && fs.statSync(file).isFile() ? fs.readFileSync(file, "utf8").trim() : "";
  console.log(event, path.basename(file), content);
});

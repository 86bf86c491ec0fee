// Opens pages in headless Chromium, wide and narrow, light and dark, and prints what is wrong with each as JSON:
//   node check.mjs PAGE.html…   →   { "page.html": { "axe": […], "overflow": […], "console": […], "sorting": […], "html": […] } }
// CHROMIUM names the browser. Nothing is downloaded; the browser's profile is new and is deleted afterwards.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { pathToFileURL } from "node:url";

import { FileSystemConfigLoader, HtmlValidate } from "html-validate";
import { chromium } from "playwright-core";

const WIDTHS = [1280, 400];
const SCHEMES = ["light", "dark"];
const SECONDS = 30_000;
const FLAGS = [
  "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
  "--disable-sync",
];
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf-8");

/** What axe finds: every rule of WCAG 2.2 A and AA, and its best practices. */
async function findAxeViolations(page) {
  await page.evaluate(AXE);
  const found = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  return found.violations.map((rule) => `${rule.id}: ${rule.help}: ${rule.nodes.slice(0, 3).map((node) => node.html.slice(0, 200)).join(" | ")}`);
}

/** Which elements reach beyond the right edge of the page. */
function findOverflow(page) {
  return page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) {
      return [];
    }
    const wide = [...document.querySelectorAll("body *")].filter((element) => element.getBoundingClientRect().right > width + 1);
    return [`${document.documentElement.scrollWidth} > ${width}: ${wide.slice(0, 3).map((element) => element.outerHTML.slice(0, 120)).join(" | ")}`];
  });
}

const readColumn = (table, column) =>
  table.evaluate((element, number) => [...element.tBodies[0].rows].map((row) => row.cells[number].textContent.trim()), column);

/** Whether cells stand in the order asked for: numbers by what they begin with, unknown ones last. */
function isOrdered(cells, sign) {
  const unknown = cells.map((cell) => /^(–|undefined|not measured|$)/.test(cell));
  const numbers = cells.filter((_, index) => !unknown[index]).map((cell) => parseFloat(cell.replace(/^< /, "").replaceAll(",", "")));
  const isSplit = unknown.every((is, index) => !is || unknown.slice(index).every(Boolean));
  return isSplit && numbers.every((number, index) => index === 0 || sign * (number - numbers[index - 1]) >= 0);
}

/** Sort every column of figures by pointer and by keyboard; the third time gives the order of the page again. */
async function findSortingFaults(page, found) {
  const faults = [];
  for (const table of await page.locator("table.sortable:visible").all()) {
    const caption = (await table.locator("caption").textContent()).trim();
    const headings = table.locator("thead th");
    const written = await readColumn(table, 0);
    for (let column = 0; column < (await headings.count()); column += 1) {
      const before = await readColumn(table, column);
      if (!before.every((cell) => /^(–|undefined|not measured|$|(< )?[+-]?[\d.])/.test(cell) && !/ (s|min|h)\b/.test(cell))) {
        continue;
      }
      const heading = headings.nth(column);
      found.sorted += 1;
      for (const [press, sign, state] of [["click", 1, "ascending"], ["Enter", -1, "descending"], ["Space", 0, null]]) {
        const button = heading.getByRole("button");
        await (press === "click" ? button.click() : button.press(press));
        const cells = await readColumn(table, column);
        const isRight = sign ? isOrdered(cells, sign) : (await readColumn(table, 0)).join() === written.join();
        if (!isRight || (await heading.getAttribute("aria-sort")) !== state) {
          faults.push(`${caption}, column ${column}, ${press}: ${cells.join("; ").slice(0, 200)}`);
        }
      }
    }
  }
  return faults;
}

async function checkPage(context, file, width, scheme, found) {
  const page = await context.newPage();
  const at = (text) => `${width} ${scheme}: ${text}`;
  page.setDefaultTimeout(SECONDS);
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && found.console.push(at(message.text())));
  page.on("pageerror", (error) => found.console.push(at(error.message)));
  page.on("request", (request) => request.url().startsWith("file:") || found.console.push(at(`asks for ${request.url()}`)));
  await page.setViewportSize({ width, height: 900 });
  await page.emulateMedia({ colorScheme: scheme });
  await page.goto(pathToFileURL(file).href);
  // What is folded away adds nothing that only dark colours could break.
  for (const isOpen of scheme === SCHEMES[0] ? [false, true] : [true]) {
    await page.evaluate((open) => document.querySelectorAll("details").forEach((element) => (element.open = open)), isOpen);
    found.axe.push(...(await findAxeViolations(page)).map(at));
    found.overflow.push(...(await findOverflow(page)).map(at));
  }
  found.checks += 1;
  if (scheme === SCHEMES[0]) {
    found.sorting.push(...(await findSortingFaults(page, found)).map(at));
  }
  await page.close();
}

const validator = new HtmlValidate(new FileSystemConfigLoader());
const profile = mkdtempSync(join(tmpdir(), "finetune-browser-"));
const results = {};
const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM_PATH,
  headless: true,
  args: process.getuid?.() === 0 ? [...FLAGS, "--no-sandbox"] : FLAGS,
});
try {
  for (const file of process.argv.slice(2)) {
    const found = { axe: [], overflow: [], console: [], sorting: [], html: [], checks: 0, sorted: 0 };
    for (const width of WIDTHS) {
      for (const scheme of SCHEMES) {
        await checkPage(context, file, width, scheme, found);
      }
    }
    const report = await validator.validateString(readFileSync(file, "utf-8"), join(import.meta.dirname, "page.html"));
    found.html = report.results.flatMap((result) => result.messages.map((message) => `${message.line}:${message.column} ${message.ruleId}: ${message.message}`));
    results[basename(file)] = found;
  }
} finally {
  await context.close();
  rmSync(profile, { recursive: true, force: true });
}
console.log(JSON.stringify(results));

// Looks at every page of a server in a real browser. See .ci/pages.
const { spawn } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const { launch } = require("puppeteer-core");

const [binary, pictures] = process.argv.slice(2);
const failures = [];

/** Starts a server on a free port and gives its address and its key. */
async function serve(folder) {
    const settings = ["--data-dir", folder, "--bind", "127.0.0.1:0", "--set", "log.format=json"];
    const server = spawn(binary, settings, { stdio: ["ignore", "pipe", "ignore"] });
    let log = "";
    const address = await new Promise((found, failed) => {
        server.stdout.on("data", piece => {
            log += piece;
            const ready = log.includes('"server.ready"');
            const listening = log.split("\n").find(line => line.includes('"server.listening"')) ?? "";
            const told = /"server.address":"([^"]+)"/.exec(listening);
            if (ready && told) found(told[1]);
        });
        server.on("exit", code => failed(new Error(`the server ended with ${code}: ${log}`)));
    });
    server.removeAllListeners("exit");
    return { server, base: `http://${address}`, key: fs.readFileSync(path.join(folder, "admin.key"), "utf8").trim() };
}

async function call(base, key, method, target, body) {
    const headers = { "X-API-Key": key, "Content-Type": "application/json" };
    const answer = await fetch(base + target, { method, headers, body: body && JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${method} ${target}: ${answer.status} ${await answer.text()}`);
}

/** Opens a page and gives it, with whatever went wrong on the way. */
async function open(browser, base, { target, width, dark, scripts, status }) {
    const page = await browser.newPage();
    const wrong = [];
    page.on("pageerror", error => wrong.push(`script: ${error}`));
    page.on("console", message => {
        // Browsers log every answer of 400 and more; the page itself may have one.
        const expected = message.location().url === base + target && status >= 400;
        if (message.type() === "error" && !expected) wrong.push(`console: ${message.text()}`);
    });
    page.on("request", request => {
        const url = request.url();
        if (!url.startsWith(base) && !url.startsWith("data:")) wrong.push(`asks elsewhere: ${url}`);
    });
    await page.setViewport({ width, height: 844 });
    await page.setJavaScriptEnabled(scripts);
    await page.setExtraHTTPHeaders({ Accept: "text/html,*/*;q=0.5" });
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }]);
    const answer = await page.goto(base + target, { waitUntil: "load" });
    // A page that is kept is asked for again with its entity tag.
    if (answer.status() !== status && answer.status() !== 304) wrong.push(`status ${answer.status()}`);
    return { page, wrong };
}

/** What axe finds, in words. */
async function violations(page) {
    await page.setBypassCSP(true);
    await page.evaluate(axe);
    const found = await page.evaluate(() => window.axe.run());
    return found.violations.map(({ impact, id, nodes }) => `${impact} ${id}, ${nodes.length} times, first ${nodes[0].html.slice(0, 100)}`);
}

async function look(browser, base, view) {
    const name = `${view.name}, ${view.width} px, ${view.dark ? "dark" : "light"}${view.scripts ? "" : ", without scripts"}`;
    const { page, wrong } = await open(browser, base, view);
    if (view.reader && view.scripts) await page.waitForSelector(".opblock-summary-control");
    const shown = await page.evaluate(() => ({
        text: document.body.innerText.trim().length,
        overflow: document.documentElement.scrollWidth - window.innerWidth,
    }));
    if (shown.text < 20) wrong.push(`shows ${shown.text} characters`);
    if (shown.overflow > 0) wrong.push(`is ${shown.overflow} px wider than the window`);
    await page.screenshot({ path: path.join(pictures, `${name.replaceAll(/[^a-z0-9]+/g, "-")}.png`) });
    if (view.scripts) {
        wrong.push(...await violations(page));
    }
    await page.close();
    if (wrong.length > 0) failures.push(...wrong.map(what => `${name}: ${what}`));
}

/** Goes through the reader as a newcomer does: opens an operation, tries it, and reads the answer. */
async function tryItOut(browser, base, dark) {
    const { page, wrong } = await open(browser, base, { target: "/docs", width: 390, dark, scripts: true, status: 200 });
    const operation = ".opblock:has([data-path='/livez'])";
    const click = async control => {
        await page.waitForSelector(`${operation} ${control}`);
        await page.evaluate(wanted => document.querySelector(wanted).click(), `${operation} ${control}`);
    };
    await click(".opblock-summary-control");
    await click(".try-out__btn");
    await click(".execute");
    const shown = `${operation} .live-responses-table .response .response-col_status`;
    await page.waitForSelector(shown);
    const status = await page.$eval(shown, cell => cell.innerText);
    if (!status.startsWith("200")) wrong.push(`"Try it out" shows ${status}`);
    wrong.push(...await violations(page));
    await page.close();
    failures.push(...wrong.map(what => `trying out, ${dark ? "dark" : "light"}: ${what}`));
}

async function main() {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "signpost-pages-"));
    const { server, base, key } = await serve(folder);
    let browser;
    try {
        await call(base, key, "POST", "/api/v1/links", { url: "https://xn--e1afmkfd.example/x", alias: "first", expires_in: "7d" });
        await call(base, key, "POST", "/api/v1/links", { url: "https://example.com/gone", alias: "gone" });
        await call(base, key, "DELETE", "/api/v1/links/gone");
        await call(base, key, "POST", "/api/v1/links", { url: "https://evil.example/", alias: "evil" });
        await call(base, key, "POST", "/api/v1/blocks", { kind: "code", value: "evil", reason: "ticket 7" });
        browser = await launch({ executablePath: process.env.SIGNPOST_TEST_BROWSER, args: ["--no-sandbox", "--disable-gpu"] });
        const pages = [
            { name: "landing", target: "/", status: 200 },
            { name: "reader", target: "/docs", status: 200, reader: true },
            { name: "errors", target: "/docs/errors", status: 200 },
            { name: "preview", target: "/first+", status: 200 },
            { name: "unknown", target: "/nothing", status: 404 },
            { name: "gone", target: "/gone", status: 410 },
            { name: "taken down", target: "/evil", status: 451 },
        ];
        let views = 0;
        for (const page of pages) {
            for (const width of [390, 1280]) {
                for (const dark of [false, true]) {
                    for (const scripts of width === 390 ? [true, false] : [true]) {
                        await look(browser, base, { ...page, width, dark, scripts });
                        views += 1;
                    }
                }
            }
        }
        for (const dark of [false, true]) await tryItOut(browser, base, dark);
        console.log(`pages: ${pages.length} pages in ${views} views`);
    } finally {
        await browser?.close();
        server.kill("SIGKILL");
        fs.rmSync(folder, { recursive: true, force: true });
    }
    for (const failure of failures) console.error(`pages: ${failure}`);
    process.exitCode = failures.length > 0 ? 1 : 0;
}

main();

// Walks all pages of a running Vedette (or the mock) in a browser, as a person would.
//
//   node e2e/walk.mjs BASE_URL
//
// Fails on: an error in the console, a request to what is not below the base, an axe violation of serious or
// critical impact, a flow that does not lead where it should. SHOTS=folder keeps screenshots;
// CHROMIUM names the browser, /usr/bin/chromium otherwise; ATTACK=1 says that a reverse shell
// finding exists and must be seen.
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const base = process.argv[2]?.replace(/\/+$/, '');
if (!base) {
  console.error('usage: node e2e/walk.mjs BASE_URL');
  process.exit(3);
}
const shots = process.env.SHOTS;
if (shots) mkdirSync(shots, { recursive: true });
const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const failures = [];
let checks = 0;
function check(ok, what) {
  checks += 1;
  if (!ok) {
    failures.push(what);
    console.log(`FAILED  ${what}`);
  }
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ],
});

const own = async (path) => (await fetch(`${base}/api/vedette/v1/${path}`)).json();
const host = (await own('status')).host.name;
const machinePath = `/hosts/${encodeURIComponent(host)}`;
// One of the test's own where it made some: any other may end while it is looked at.
const boxes = (await own('containers')).containers;
const box = boxes.find((one) => one['container.name'] === 'busy') ?? boxes[0];
const boxPath = box && `/containers${box.cgroup.split('/').map(encodeURIComponent).join('/')}?host=${host}`;
check(box || !process.env.CONTAINERS, 'containers should run on this machine');

const pages = [
  ['home', '/'],
  ['alerts', '/alerts'],
  ['rules', '/alerts?show=rules'],
  ['metrics', `/explore/metrics?q=${encodeURIComponent('sum by (mode) (rate(node_cpu_seconds_total[1m]))')}`],
  ['table', `/explore/metrics?tab=table&q=node_load1&q=${encodeURIComponent('node_filesystem_avail_bytes')}`],
  ['events', '/explore/events'],
  [
    'explain',
    `/explore/metrics?tab=explain&q=${encodeURIComponent('sum by (mode) (rate(node_cpu_seconds_total[1m])) / 2')}`,
  ],
  ['machines', '/hosts'],
  ['machine', machinePath],
  ['containers', '/containers'],
  ...(box ? [['container', boxPath]] : []),
  ['capacity', '/capacity'],
  ['clusters', '/clusters'],
  ['status', '/status'],
  ['targets', '/status/targets'],
  ['discovery', '/status/discovery'],
  ['storage', '/status/storage'],
  ['configuration', '/status/configuration'],
];

const looks = [
  { name: 'light-wide', colorScheme: 'light', viewport: { width: 1440, height: 900 } },
  { name: 'dark-wide', colorScheme: 'dark', viewport: { width: 1440, height: 900 } },
  { name: 'light-narrow', colorScheme: 'light', viewport: { width: 390, height: 844 } },
  { name: 'dark-narrow', colorScheme: 'dark', viewport: { width: 390, height: 844 } },
];

/** A page in a context of its own that records what must not happen. `expected` lets an error pass. */
async function open(look, expected = /^$/) {
  const context = await browser.newContext({ ...look, timezoneId: 'Europe/Berlin', bypassCSP: false });
  const page = await context.newPage();
  await page.addInitScript(() =>
    document.addEventListener('securitypolicyviolation', (e) =>
      console.error(
        `refused by the policy: ${e.violatedDirective} ${e.sourceFile}:${e.lineNumber}:${e.columnNumber} ${e.sample}`,
      ),
    ),
  );
  page.setDefaultTimeout(10_000);
  page.on('console', (message) => {
    if (message.type() === 'error' && !expected.test(message.text() + message.location().url))
      check(false, `${look.name}: console: ${message.text()} (${message.location().url})`);
  });
  page.on('pageerror', (error) => check(false, `${look.name}: error on the page: ${error.stack ?? error}`));
  page.on('request', (request) => {
    if (!/^(data|blob|about):/.test(request.url()) && !`${request.url()}/`.startsWith(`${base}/`))
      check(false, `${look.name}: request to what is not below ${base}: ${request.url()}`);
  });
  return { context, page };
}

async function shot(page, name) {
  if (shots) await page.screenshot({ path: join(shots, `${name}.png`) });
}

/** Run in a world of its own, so that the page's policy needs no exception for the test. */
async function axe(page, where) {
  const session = await page.context().newCDPSession(page);
  const { frameTree } = await session.send('Page.getFrameTree');
  const { executionContextId } = await session.send('Page.createIsolatedWorld', {
    frameId: frameTree.frame.id,
    worldName: 'axe',
  });
  await session.send('Runtime.evaluate', { expression: axeSource, contextId: executionContextId });
  const answer = await session.send('Runtime.evaluate', {
    expression: `axe.run(document, { resultTypes: ['violations'] }).then((r) => JSON.stringify(r.violations.map((v) => ({ id: v.id, impact: v.impact, nodes: v.nodes.slice(0, 4).map((n) => n.html.slice(0, 180) + ' ' + (n.failureSummary ?? '').slice(0, 200)) }))))`,
    awaitPromise: true,
    returnByValue: true,
    contextId: executionContextId,
  });
  await session.detach();
  check(
    answer.result.value !== undefined,
    `${where}: axe did not run: ${JSON.stringify(answer.exceptionDetails ?? {}).slice(0, 300)}`,
  );
  for (const violation of JSON.parse(answer.result.value ?? '[]'))
    check(
      !['serious', 'critical'].includes(violation.impact),
      `${where}: axe ${violation.impact} ${violation.id}: ${violation.nodes.join(' | ')}`,
    );
}

async function settled(page) {
  await page.locator('main h1').waitFor();
  await page.waitForFunction(() => !document.querySelector('.loading'));
}

/** Graphs are polled every few seconds, and a machine this young may have no point to draw at first. */
async function drawn(page, graphs) {
  try {
    await page.locator(graphs).first().waitFor({ timeout: 30_000 });
  } catch (error) {
    const text = await page.locator('main').innerText();
    throw new Error(`${page.url()} draws no graph (${graphs}); it says:\n${text}`, { cause: error });
  }
}

const graphsOf = {
  home: '.charts canvas',
  machine: '.charts canvas',
  container: '.charts canvas',
  metrics: '.query canvas',
};

for (const look of looks) {
  const { context, page } = await open(look);
  for (const [name, path] of pages) {
    await page.goto(base + path);
    await settled(page);
    if (name in graphsOf) await drawn(page, graphsOf[name]);
    await page.waitForTimeout(name === 'home' ? 1200 : 300);
    await shot(page, `${look.name}-${name}`);
    await axe(page, `${look.name} ${name}`);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    check(wide <= 0, `${look.name} ${name}: the page is ${wide} pixels wider than the screen`);
  }
  for (const [name, path] of shots
    ? pages.filter(([name]) => ['home', 'machine', 'container'].includes(name))
    : []) {
    await page.goto(base + path);
    await settled(page);
    await drawn(page, graphsOf[name]);
    await page.waitForTimeout(800);
    await page.screenshot({ path: join(shots, `${look.name}-${name}-full.png`), fullPage: true });
  }
  await context.close();
}

for (const look of [looks[0], looks[3]]) {
  // A wrong query is answered with status 400, which the browser itself reports in its console.
  const { context, page } = await open(look, /status of 400/);
  const step = async (name, run) => {
    try {
      await run();
    } catch (error) {
      await shot(page, `failed-${look.name}-${name.replaceAll(/\W+/g, '-')}`);
      check(false, `${look.name}: ${name}: ${String(error).split('\n').slice(0, 4).join(' ')}`);
    }
  };

  await step('containers are sorted', async () => {
    await page.goto(`${base}/`);
    await settled(page);
    const box = page.getByRole('region', { name: 'Containers' }).last();
    await box.getByRole('button', { name: 'CPU', exact: true }).click();
    check(
      new URL(page.url()).searchParams.get('sort') === '-cpu',
      `${look.name}: the order stands in the URL`,
    );
    await box.locator('th[aria-sort=descending]').waitFor();
    await page.goBack();
    check(new URL(page.url()).searchParams.get('sort') === null, `${look.name}: back takes the order back`);
  });

  /** Waits until what `read` reads is something, and then something else. */
  const moves = async (what, locator, read) => {
    await locator.first().waitFor();
    const first = await locator.first().evaluate(read);
    check(/\d/.test(first), `${look.name}: ${what} has figures: ${first}`);
    await page.waitForFunction(
      ([selector, before, text]) => {
        const element = document.querySelector(selector);
        return (
          element !== null && (text ? element.textContent : element.getAttribute('aria-label')) !== before
        );
      },
      [await selectorOf(locator), first, read === textOf],
      { timeout: 30_000 },
    );
  };
  const textOf = (element) => element.textContent;
  const labelOf = (element) => element.getAttribute('aria-label');
  /** An attribute by which the page itself finds the element again. */
  const selectorOf = (locator) =>
    locator.first().evaluate((element) => {
      const at = `walk-${document.querySelectorAll('[data-walk]').length}`;
      element.setAttribute('data-walk', at);
      return `[data-walk="${at}"]`;
    });

  await step('the machine moves', async () => {
    await page.goto(base + machinePath);
    await settled(page);
    await moves('the machine now', page.getByRole('region', { name: 'The machine now' }), textOf);
    const graph = page.getByRole('region', { name: 'CPU by mode' }).getByRole('img');
    await moves('CPU by mode', graph, labelOf);
    for (const title of ['Memory', 'Load', 'Pressure: share of time waiting', 'Network'])
      await page.getByRole('region', { name: title, exact: true }).locator('canvas').waitFor();
    for (const title of ['File systems', 'Disks', 'Network interfaces', 'Processes'])
      await page.getByRole('region', { name: title, exact: true }).locator('tbody tr').first().waitFor();
    await page.getByRole('link', { name: 'Load: look closer on the Metrics page' }).click();
    await page.locator('.query canvas').waitFor();
  });

  await step('a container is found, and moves', async () => {
    await page.goto(`${base}/containers`);
    await settled(page);
    if (!box) {
      await page.getByText('No container was there at this time').waitFor();
      return;
    }
    const list = page.getByRole('region', { name: 'Containers' }).last();
    await list.getByRole('button', { name: 'CPU', exact: true }).click();
    check(new URL(page.url()).searchParams.get('sort') === '-cpu', `${look.name}: containers are sorted`);
    const rows = list.locator('tbody tr[data-row]');
    const busiest = (await rows.first().locator('td a').textContent()).trim();
    await page.getByRole('searchbox', { name: 'Filter containers' }).fill(busiest);
    await page.waitForFunction(() => new URL(location.href).searchParams.get('containers'));
    await rows.first().focus();
    await page.keyboard.press('Enter');
    await page.waitForURL(/\/containers\/.+/);
    await page.locator('.charts canvas').first().waitFor();
    check((await page.title()).includes('Container'), `${look.name}: the title says what is open`);
    await moves('the container now', page.getByRole('region', { name: 'The container now' }), textOf);
    const graph = page.getByRole('region', { name: 'CPU', exact: true }).getByRole('img');
    await moves('CPU of the container', graph, labelOf);
    await page.getByRole('region', { name: 'Memory', exact: true }).locator('canvas').waitFor();
    await page.getByRole('region', { name: 'Processes', exact: true }).locator('tbody tr').first().waitFor();
    await page.getByRole('link', { name: `Machine ${host}` }).click();
    await page.getByRole('region', { name: 'The machine now' }).waitFor();
    await page.goBack();
    await page.getByRole('region', { name: 'The container now' }).waitFor();
    await page.goBack();
    await list.locator('th[aria-sort=descending]').waitFor();
  });

  await step('what is not there says so', async () => {
    await page.goto(`${base}/containers/system.slice/nothing.scope?host=nowhere`);
    await page.getByText('No container at /system.slice/nothing.scope').waitFor();
    await axe(page, `${look.name} no container`);
    await page.goto(`${base}/hosts/nowhere.example`);
    await page.getByText('nowhere.example was not seen in this time range').waitFor();
    await axe(page, `${look.name} no machine`);
  });

  await step('a wrong query is underlined', async () => {
    await page.goto(`${base}/explore/metrics`);
    await settled(page);
    const editor = page.locator('.cm-content');
    await editor.click();
    await page.keyboard.type('rate(node_cpu_seconds_total[1m]) +* 2', { delay: 5 });
    await page.keyboard.press('Escape');
    await page.keyboard.press('Control+Enter');
    await page.locator('.cm-lintRange-error').first().waitFor();
    await page
      .getByRole('alert')
      .filter({ hasText: /\d+:\d+/ })
      .waitFor();
    await shot(page, `${look.name}-flow-error`);
    await axe(page, `${look.name} query error`);
    await editor.click();
    await page.keyboard.press('Control+a');
    await page.keyboard.type('node_load1', { delay: 5 });
    await page.keyboard.press('Control+Enter');
    await page.locator('.query canvas').waitFor();
    check(
      new URL(page.url()).searchParams.get('q') === 'node_load1',
      `${look.name}: the query stands in the URL`,
    );
  });

  await step('names are completed', async () => {
    await page.goto(`${base}/explore/metrics`);
    await settled(page);
    await page.locator('.cm-content').click();
    await page.keyboard.type('node_mem', { delay: 20 });
    await page.locator('.cm-tooltip-autocomplete li').first().waitFor();
    await shot(page, `${look.name}-flow-completion`);
  });

  await step('a link of Prometheus opens', async () => {
    await page.goto(`${base}/graph?g0.expr=node_load1&g0.tab=0&g0.range_input=30m`);
    await settled(page);
    const url = new URL(page.url());
    check(
      url.origin + url.pathname === `${base}/explore/metrics` &&
        url.searchParams.get('q') === 'node_load1' &&
        url.searchParams.get('from') === 'now-30m',
      `${look.name}: /graph leads to ${url}`,
    );
  });

  await step('events are filtered, one is opened, its tree shown', async () => {
    await page.goto(`${base}/explore/events`);
    await settled(page);
    await page.getByRole('button', { name: /^Kinds of events/ }).click();
    await page.getByLabel('Exec', { exact: true }).check();
    await page.keyboard.press('Escape');
    check(
      new URL(page.url()).searchParams.get('kind') === 'exec',
      `${look.name}: the kind stands in the URL`,
    );
    const rows = page.locator('tbody tr[data-row]');
    await rows.first().waitFor();
    await rows.nth(1).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('tab', { name: 'Process tree' }).waitFor();
    await shot(page, `${look.name}-flow-event`);
    await axe(page, `${look.name} event`);
    await page.getByRole('tab', { name: 'Process tree' }).click();
    await page.locator('li.focus').first().waitFor();
    await shot(page, `${look.name}-flow-tree`);
    await axe(page, `${look.name} tree`);
    await page.keyboard.press('Escape');
    check(new URL(page.url()).searchParams.get('event') === null, `${look.name}: Escape closes the event`);
  });

  await step('what is read in the live tail does not move', async () => {
    await page.goto(`${base}/explore/events`);
    await settled(page);
    const box = page.getByRole('region', { name: 'Events' }).last();
    const far = await box.evaluate((e) => ((e.scrollTop = 600), e.scrollTop));
    if (far < 300) return; // Too few events on this machine to scroll.
    await page.waitForTimeout(300);
    const read = () =>
      box.evaluate(
        (e) =>
          [...e.querySelectorAll('tbody tr[data-row]')].find(
            (r) => r.getBoundingClientRect().top > e.getBoundingClientRect().top + 60,
          )?.textContent,
      );
    const before = await read();
    await page.getByRole('button', { name: / new/ }).waitFor();
    check((await read()) === before, `${look.name}: the row that was read moved`);
    if (look.viewport.width < 1300) return; // The event takes the list's place.
    await box.locator('tbody tr[data-row]').nth(12).click();
    await page.getByRole('tab', { name: 'Process tree' }).waitFor();
    await page.waitForTimeout(500);
    check((await read()) === before, `${look.name}: opening an event moved the list`);
  });

  await step('an alert is opened', async () => {
    await page.goto(`${base}/alerts`);
    await settled(page);
    const rows = page.locator('.list button.row');
    if ((await rows.count()) === 0) {
      check(!process.env.ATTACK, `${look.name}: a finding should stand on the Alerts page`);
      await page.getByText('Nothing fires').waitFor();
      return;
    }
    await rows.first().click();
    await page.getByRole('heading', { name: 'Labels' }).waitFor();
    await shot(page, `${look.name}-flow-alert`);
    await axe(page, `${look.name} alert`);
    if (process.env.ATTACK) {
      await page.locator('.list button.row').filter({ hasText: /shell/i }).first().waitFor();
      await page.getByRole('link', { name: 'Process tree' }).click();
      await page.locator('li.focus').first().waitFor();
      await page.waitForTimeout(300);
      await shot(page, `${look.name}-flow-attack`);
    }
  });

  await step('the palette leads to a page', async () => {
    await page.goto(`${base}/`);
    await settled(page);
    await page.keyboard.press('Control+k');
    await page.getByRole('combobox', { name: /Search/ }).waitFor();
    await page.keyboard.type('load1');
    await page.waitForTimeout(400);
    await shot(page, `${look.name}-flow-palette`);
    await axe(page, `${look.name} palette`);
    await page.keyboard.press('Control+a');
    await page.keyboard.type('status');
    await page.keyboard.press('Enter');
    await page.waitForURL(/\/status/);
  });

  await step('keys', async () => {
    await page.goto(`${base}/?from=now-1h&to=now`);
    await settled(page);
    await page.keyboard.press('?');
    await page.getByRole('dialog', { name: 'Keys' }).waitFor();
    await shot(page, `${look.name}-flow-keys`);
    await axe(page, `${look.name} keys`);
    await page.keyboard.press('Escape');
    await page.getByRole('dialog', { name: 'Keys' }).waitFor({ state: 'hidden' });
    await page.keyboard.press('g');
    await page.keyboard.press('e');
    await page.waitForURL(/\/explore\/events/);
    check(
      new URL(page.url()).searchParams.get('from') === 'now-1h',
      `${look.name}: the range goes along from page to page`,
    );
    await page.goBack();
    await page.waitForURL((url) => url.origin + url.pathname === `${base}/`);
    // The address changes before the app has heard of it; a key pressed between would be lost.
    await page.locator('.charts canvas').first().waitFor();
    await page.keyboard.press('l');
    await page.waitForURL(/live=0/);
  });

  await step('the time picker', async () => {
    await page.goto(`${base}/`);
    await settled(page);
    await page.getByRole('button', { name: /^Time range/ }).click();
    await page.getByRole('button', { name: 'Last hour' }).waitFor();
    await shot(page, `${look.name}-flow-time`);
    await axe(page, `${look.name} time`);
    await page.getByRole('button', { name: 'Last hour' }).click();
    await page.waitForURL(/from=now-1h/);
  });

  await step('a page that is not there', async () => {
    await page.goto(`${base}/nowhere`);
    await page.getByText('There is no page at').waitFor();
  });
  await context.close();
}

await browser.close();
console.log(`${checks - failures.length} checks passed, ${failures.length} failed`);
process.exit(failures.length > 0 ? 1 : 0);

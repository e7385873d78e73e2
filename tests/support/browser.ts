import * as path from 'node:path'
import { chromium, type Browser, type Page } from 'playwright-core'
import { repoRoot } from './paths'

const { findBrowser } = require(path.join(repoRoot, 'native', 'setup', 'find.cjs')) as { findBrowser(): string | undefined }

/** The Chromium or Chrome of this machine, or the one that set-up fetched; `null` where there is none. */
export function browserPath(): string | null { return findBrowser() ?? null }

/** A browser that asks nobody for anything. */
export async function openBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath: browserPath() ?? undefined, headless: true,
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run'],
  })
}

/** What went wrong on a page, and what it asked of other hosts. */
export function watch(page: Page): { readonly errors: string[]; readonly remote: string[] } {
  const seen = { errors: [] as string[], remote: [] as string[] }
  page.on('pageerror', (error) => seen.errors.push(error.message))
  page.on('request', (request) => { if (!/^(file|data|blob|about):|\/\/127\.0\.0\.1[:/]/.test(request.url()) && !/^ws:\/\/127\.0\.0\.1/.test(request.url())) seen.remote.push(request.url()) })
  return seen
}

/** Points of each trace of a board's charts on a page, by the chart's title, as Plotly drew them. */
export async function drawnPoints(page: Page): Promise<Record<string, number[]>> {
  // Text, because it runs in the page: the compiler knows no document here.
  return page.evaluate(`Object.fromEntries([...document.querySelectorAll('.fettle-board .fb-chart')].map((chart) => {
    const plot = chart.querySelector('.fb-plot')
    return [chart.querySelector('.fb-chart-title').textContent, plot.querySelector('.trace path') ? (plot.data ?? []).map((trace) => trace.x.length) : []]
  }))`)
}

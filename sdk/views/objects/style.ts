import { Html } from '../html'

/** The look of objects, beside the common one: colours follow JupyterLab's theme where there is one, else the reader's preference. */
export const objectStyle = new Html(`<style>
.fettle-object{--learn:#1a5c9e;--learn-soft:rgba(63,131,201,.16);--token:rgba(128,128,128,.13);--bar:#3f83c9;--warn:#8f5410;font-variant-numeric:tabular-nums}
@media (prefers-color-scheme:dark){.fettle-object{--learn:#8ec3f7;--learn-soft:rgba(63,131,201,.30);--token:rgba(160,160,160,.16);--warn:#e0a45c}}
[data-jp-theme-light="true"] .fettle-object{--learn:#1a5c9e;--learn-soft:rgba(63,131,201,.16);--token:rgba(128,128,128,.13);--warn:#8f5410}
[data-jp-theme-light="false"] .fettle-object{--learn:#8ec3f7;--learn-soft:rgba(63,131,201,.30);--token:rgba(160,160,160,.16);--warn:#e0a45c}
.fettle-name{font-size:14px;font-weight:600;overflow-wrap:anywhere}.fettle-lead{color:var(--soft);overflow-wrap:anywhere}.fettle-lead b{color:var(--ink);font-weight:600}
.fettle-columns{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,300px),1fr));gap:2px 32px;align-items:start;margin-top:4px}
.fettle-object table{width:100%;max-width:100%}.fettle-object th,.fettle-object td{padding:3px 10px 3px 0}
.fettle-object caption{caption-side:top;text-align:left;color:var(--soft);font-size:12px;padding:4px 0 2px}
.fettle-object th.fettle-n,.fettle-object td.fettle-n{text-align:right!important;white-space:nowrap}
.fettle-object td:last-child,.fettle-object th:last-child{padding-right:0}
.fettle-scroll{overflow-x:auto}
.fettle-meter{display:block;height:7px;min-width:1px;border-radius:2px;background:var(--bar);margin-top:6px}
.fettle-quiet,.fettle-quiet th,.fettle-quiet td{color:var(--soft)}.fettle-set td{font-weight:600}
.fettle-bad{color:var(--warn);margin:4px 0;overflow-wrap:anywhere}
.fettle-object pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:4px 0;font-size:12px;background:none;color:inherit}
.fettle-row{border-top:1px solid var(--rule);padding:5px 0 7px}.fettle-row p{margin:2px 0 0;white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.75;max-height:22em;overflow-y:auto}
.fettle-row .fettle-read{color:var(--soft)}.fettle-row b{color:var(--learn);font-weight:600;text-decoration:underline;text-decoration-thickness:1px;text-underline-offset:3px}
.fettle-row .fettle-t{background:var(--token);border-radius:2px}.fettle-row b .fettle-t{background:var(--learn-soft)}
.fettle-row .fettle-mark{opacity:.75;font-size:.92em}
.fettle-object figure{margin:4px 0}.fettle-object figure svg{display:block;width:100%;height:auto;color:var(--soft)}
</style>`)

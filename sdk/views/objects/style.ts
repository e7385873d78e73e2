import { Html } from '../html'

const light = '--learn:#1a5c9e;--learn-soft:rgba(63,131,201,.13);--read:#565f69;--token:rgba(128,128,128,.1);--warn:#8a4f0d'
const dark = '--learn:#9accf9;--learn-soft:rgba(63,131,201,.24);--read:#b3bbc4;--token:rgba(160,160,160,.12);--warn:#e3ab66'

/** The look of objects, beside the common one: colours follow JupyterLab's theme where there is one, else the reader's preference. */
export const objectStyle = new Html(`<style>
.fettle-object{${light};font-variant-numeric:tabular-nums}
@media (prefers-color-scheme:dark){.fettle-object{${dark}}}
[data-jp-theme-light="true"] .fettle-object{${light}}[data-jp-theme-light="false"] .fettle-object{${dark}}
.fettle-name{font-size:14px;font-weight:600;overflow-wrap:anywhere}.fettle-lead{color:var(--read);overflow-wrap:anywhere}.fettle-lead b{color:var(--ink);font-weight:600}
.fettle-columns{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,290px),1fr));gap:2px 32px;align-items:start;margin-top:4px}
.fettle-columns.fettle-lengths{grid-template-columns:repeat(auto-fit,minmax(min(100%,200px),1fr))}.fettle-columns table{width:100%}.fettle-object tr{background:none!important}.fettle-object th,.fettle-object td{padding:2px 18px 2px 0}
.fettle-object th{white-space:nowrap;overflow-wrap:normal;color:var(--read)}.fettle-object td{max-width:640px}
.fettle-object caption{caption-side:top;text-align:left;color:var(--ink);font-weight:600;padding:6px 0 2px}
.fettle-object .fettle-n{text-align:right!important;white-space:nowrap}
.fettle-object td:last-child,.fettle-object th:last-child{padding-right:0}
.fettle-scroll{overflow-x:auto}.fettle-scroll td{white-space:nowrap}
.fettle-meters{width:40%;min-width:60px}.fettle-meter{display:block;height:7px;min-width:1px;border-radius:2px;background:#3f83c9;margin-top:6px}
.fettle-quiet td{color:var(--read)}.fettle-set th,.fettle-set td{color:var(--ink)}.fettle-set td{font-weight:600}
.fettle-bad{color:var(--warn);margin:4px 0;overflow-wrap:anywhere}
.fettle-object pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:4px 0;padding:0;font-size:12px;background:none;color:inherit}
.fettle-object small,.fettle-object summary,.fettle-object figcaption{color:var(--read)}
.fettle-row{border-top:1px solid var(--rule);padding:5px 0 7px}.fettle-row p{margin:2px 0 0;white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.7;max-height:22em;overflow-y:auto}
.fettle-read{color:var(--read)}.fettle-row b,.fettle-object small b{color:var(--learn);font-weight:500;text-decoration:underline;text-decoration-thickness:1px;text-underline-offset:3px}
.fettle-t{background:var(--token);border-radius:2px}.fettle-row b .fettle-t{background:var(--learn-soft)}
.fettle-mark{font-size:.9em;font-weight:400}
.fettle-object figure{margin:4px 0}.fettle-object figure svg{display:block;width:100%;height:60px;margin-top:2px;border-bottom:1px solid var(--rule);color:var(--ink)}.fettle-axis{display:flex;justify-content:space-between;font-size:12px;color:var(--read)}
</style>`)

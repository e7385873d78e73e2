import { Html } from './html'

/** The look of everything that Fettle shows in a page. Colours follow JupyterLab's theme where there is one, else the
 * reader's light or dark preference. */
export const styleHtml = new Html(`<style>
.fettle{--ink:var(--jp-ui-font-color1,#22272e);--soft:var(--jp-ui-font-color2,#66707b);--rule:rgba(128,128,128,.25);color:var(--ink);font:13px/1.5 var(--jp-ui-font-family,system-ui,sans-serif);max-width:1080px}
@media (prefers-color-scheme:dark){.fettle{--ink:var(--jp-ui-font-color1,#e3e6ea);--soft:var(--jp-ui-font-color2,#9aa4af)}}
.fettle small,.fettle-caption{color:var(--soft)}
.fettle-error{color:#d0483e;margin-top:4px;white-space:pre-wrap}
.fettle table{border-collapse:collapse;margin:6px 0;font-size:12.5px;table-layout:auto}
.fettle th,.fettle td{text-align:left!important;vertical-align:top;padding:3px 14px 3px 0;border:0;border-bottom:1px solid var(--rule);white-space:pre-wrap;overflow-wrap:anywhere;max-width:420px;background:none!important}
.fettle summary{color:var(--soft);cursor:pointer}
.fettle th{color:var(--soft);font-weight:500}
</style>`)

/** Ink, grounds and meanings in both tones; JupyterLab's own where the page has them. Each text colour is at least 4.5:1 on its ground. */
const colours = `
.fettle-board{--ink:var(--jp-ui-font-color1,#1f2328);--soft:#5b6570;--rule:rgba(110,120,130,.24);--wash:rgba(110,120,130,.08);--hover:rgba(110,120,130,.16);
--main:#2d6eb4;--faint:rgba(45,110,180,.42);--second:#c2631a;--good:#1c7a53;--warn:#8a5200;--bad:#b3261e;--mark:rgba(45,110,180,.16);--ground:var(--jp-layout-color0,#fff);color-scheme:light}
.fettle-board[data-theme=dark]{--ink:var(--jp-ui-font-color1,#e6e9ec);--soft:#a9b2bc;--rule:rgba(160,170,180,.26);--wash:rgba(160,170,180,.09);--hover:rgba(160,170,180,.18);
--main:#74ace6;--faint:rgba(116,172,230,.45);--second:#eb9d5c;--good:#6cc3a3;--warn:#f0b35a;--bad:#ff8f85;--mark:rgba(116,172,230,.24);--ground:var(--jp-layout-color0,#15181c);color-scheme:dark}
@media (prefers-color-scheme:dark){.fettle-board:not([data-theme]){--ink:var(--jp-ui-font-color1,#e6e9ec);--soft:var(--jp-ui-font-color2,#a9b2bc);--good:#3d9a78;--warn:var(--jp-warn-color0,#f0b35a);--bad:var(--jp-error-color1,#ff8f85)}}`

const frame = `
.fettle-board{container-type:inline-size;container-name:fettle;color:var(--ink);font:13px/1.5 var(--jp-ui-font-family,system-ui,-apple-system,"Segoe UI",sans-serif);font-variant-numeric:tabular-nums;max-width:1280px;min-width:0;overflow-wrap:anywhere;text-align:start}
.fettle-board *,.fettle-board *::before{box-sizing:border-box}
.fettle-board [hidden]{display:none!important}
.fb-inner{padding:6px 2px 10px;display:grid;grid-template-columns:minmax(0,1fr);gap:12px}
.fettle-board h4{font-family:inherit;font-size:12px;font-weight:600;line-height:1.5;color:var(--ink);margin:0!important}
.fettle-board small,.fb-soft{font-size:12px;color:var(--soft)}
.fettle-board .fb-hidden{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap;margin:-1px;padding:0;border:0}
.fettle-board :focus-visible{outline:2px solid var(--main);outline-offset:0;border-radius:3px}`

const header = `
.fb-header{display:grid;grid-template-columns:minmax(0,1fr);gap:6px}
.fb-line{display:flex;flex-wrap:wrap;align-items:baseline;gap:2px 10px;min-width:0}
.fb-status{font-weight:600;white-space:nowrap}
.fb-status::before{content:"";display:inline-block;width:8px;height:8px;border-radius:50%;margin-inline-end:7px;background:var(--main)}
.fb-status[data-status=paused]::before,.fb-status[data-status=stopping]::before,.fb-status[data-status=stopped]::before,.fb-status[data-status=lost]::before{background:var(--second)}
.fb-status[data-status=preparing]::before{background:var(--soft)}
.fb-status[data-status=done]::before{background:var(--good)}
.fb-status[data-status=failed]::before,.fb-status[data-status=crashed]::before{background:var(--bad)}
.fb-title{font-weight:500;min-width:0;max-width:100%;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.fb-about{color:var(--soft);min-width:0;max-width:100%;overflow:hidden;text-overflow:ellipsis}
.fb-bar{height:5px;border-radius:3px;background:var(--rule);overflow:hidden}
.fb-bar i{display:block;height:100%;width:0;border-radius:3px;background:var(--main)}
.fb-bar[data-status=done] i{background:var(--good)}
.fb-bar[data-status=stopped] i,.fb-bar[data-status=paused] i,.fb-bar[data-status=stopping] i,.fb-bar[data-status=lost] i{background:var(--second)}
.fb-bar[data-status=failed] i,.fb-bar[data-status=crashed] i{background:var(--bad)}
.fb-unknown i{width:30%;opacity:.55}
@media (prefers-reduced-motion:no-preference){.fb-bar i{transition:width .4s linear}.fb-unknown i{animation:fb-slide 1.8s ease-in-out infinite alternate}}
@keyframes fb-slide{from{margin-inline-start:0}to{margin-inline-start:70%}}
.fb-stage{color:var(--soft);font-size:12px;margin-inline-start:auto}
.fettle-board .fb-figures{display:grid;grid-template-columns:repeat(7,minmax(0,auto));justify-content:space-between;gap:4px 20px;margin:2px 0 0}
.fb-figures>div{min-width:0}
.fettle-board .fb-figures dt{font-size:12px;line-height:1.3;font-weight:400;color:var(--soft);margin:0;float:none;width:auto}
.fettle-board .fb-figures dd{font-size:16px;line-height:1.35;margin:0;padding:0;white-space:nowrap;min-width:3.2em}
.fb-figures>div:first-child dd{min-width:6.5em}.fb-figures>div:nth-child(2) dd{min-width:5.4em}.fb-figures>div:nth-child(n+6) dd{min-width:4.6em}
.fb-error{color:var(--bad);white-space:pre-wrap;border-inline-start:3px solid var(--bad);padding:2px 0 2px 10px;max-height:16em;overflow:auto}
@container fettle (max-width:640px){.fettle-board .fb-figures{grid-template-columns:repeat(6,minmax(0,1fr));gap:6px 12px}.fb-figures>div{grid-column:span 2}.fb-figures>div:nth-child(-n+2),.fb-figures>div:nth-child(n+6){grid-column:span 3}.fettle-board .fb-figures dd{min-width:0!important;font-size:15px}}`

const controls = `
.fb-controls{display:flex;flex-wrap:wrap;gap:6px 16px;align-items:center;min-height:30px}
.fb-buttons,.fb-rate,.fb-ask{display:inline-flex;flex-wrap:wrap;gap:6px;align-items:center}
.fb-rate label{color:var(--soft);font-size:12px}
.fettle-board button{font:inherit;color:inherit;cursor:pointer;margin:0}
.fb-button{font-size:12.5px;line-height:18px;padding:3px 10px;border:1px solid var(--rule);border-radius:6px;background:transparent}
.fettle-board .fb-button{font-size:12.5px;line-height:18px}
.fb-button:hover{background:var(--hover)}
.fb-button[aria-disabled=true]{color:var(--soft);cursor:default;background:transparent;border-style:dashed}
.fb-button[aria-busy=true]{background:var(--hover);border-style:solid}
.fettle-board .fb-danger{color:var(--bad);border-color:currentColor}
.fettle-board .fb-input{font:inherit;font-size:12.5px;line-height:18px;color:var(--ink);background:var(--ground);border:1px solid var(--rule);border-radius:6px;padding:3px 8px;margin:0;box-shadow:none}
.fettle-board .fb-input::placeholder{color:var(--soft);opacity:1}
.fb-input[aria-invalid=true]{border-color:var(--bad)!important}
.fb-reply{color:var(--soft);font-size:12px;min-width:0;flex:1 1 140px}.fb-reply.fb-failed{color:var(--bad)}
.fb-over .fb-buttons,.fb-over .fb-rate{display:none}
.fettle-board .fb-quiet{border:0;background:none;padding:0 2px;font-size:12px;color:var(--soft);text-decoration:underline;text-decoration-color:var(--rule);text-underline-offset:3px}
.fettle-board .fb-quiet:hover{color:var(--ink)}
.fettle-board .fb-quiet[aria-pressed=true]{color:var(--main);text-decoration-color:currentColor}`

const charts = `
.fb-charts{display:grid;grid-template-columns:minmax(0,1fr);gap:12px 28px}
.fb-chart{min-width:0}
.fb-chart-head{display:flex;align-items:baseline;gap:4px 12px;font-size:12px;line-height:18px;min-width:0}
.fb-chart-title{color:var(--soft);white-space:nowrap}
.fb-chart-large .fb-chart-title{font-weight:600;color:var(--ink)}
.fb-chart-value,.fb-chart-head>.fb-quiet{margin-inline-start:auto!important}
.fb-legend{display:flex;flex-wrap:wrap;gap:0 12px;color:var(--soft)}
.fb-key i{display:inline-block;width:14px;height:0;border-top:2px solid var(--main);margin-inline-end:5px;vertical-align:middle}
.fb-key-faint i{border-top:1.5px solid var(--faint)}.fb-key-second i{width:7px;height:7px;border:0;border-radius:50%;background:var(--second)}
.fb-plot{width:100%;min-width:0;height:92px;overflow:hidden}.fb-chart-large .fb-plot{height:240px}
.fb-plot:empty{background:linear-gradient(var(--rule),var(--rule)) 0 100%/100% 1px no-repeat}
.fb-plot .js-plotly-plot,.fb-plot .plot-container{width:100%}
.fb-small{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:10px 24px;min-width:0}
@container fettle (min-width:700px){.fb-small{grid-template-columns:repeat(3,minmax(0,1fr))}.fb-chart-large .fb-plot{height:260px}}
@container fettle (min-width:1000px){.fb-charts{grid-template-columns:minmax(0,1.25fr) minmax(0,1fr)}.fb-small{grid-template-columns:repeat(2,minmax(0,1fr))}.fb-chart-large .fb-plot{height:334px}}
@container fettle (max-width:420px){.fb-small{grid-template-columns:repeat(2,minmax(0,1fr));gap:10px 16px}.fb-chart-large .fb-plot{height:200px}}`

const notes = `
.fb-rank{color:var(--soft);font-size:12px}
.fb-notes:not(:empty){display:grid;grid-template-columns:repeat(auto-fit,minmax(min(240px,100%),1fr));gap:10px 28px;margin-top:10px}
.fb-note{min-width:0}
.fettle-board .fb-note ul{list-style:none;margin:2px 0 0;padding:0}
.fettle-board .fb-note li{margin:0 0 2px;padding:0;font-size:12.5px;min-width:0;list-style:none}
.fettle-board .fb-note small{margin-inline-start:.8em;white-space:nowrap}
.fb-note-warnings li>span{color:var(--warn)}
.fb-note-commands li{color:var(--soft)}
.fb-scroll{overflow-x:auto}`

const samples = `
.fb-sample-section{display:grid;grid-template-columns:minmax(0,1fr);gap:4px;min-width:0}
.fb-sample-head{display:flex;flex-wrap:wrap;align-items:center;gap:2px 10px}
.fettle-board .fb-slider{width:min(220px,40cqi);margin:0;accent-color:var(--main);cursor:pointer}
.fb-sample-step{min-width:4.5em}
.fettle-board table{border-collapse:collapse;border-spacing:0;width:100%;margin:0;table-layout:fixed;font-size:12.5px;line-height:1.5;color:inherit;border:0}
.fettle-board table.fb-ranks{width:auto;table-layout:auto;font-size:12px}
.fettle-board table.fb-ranks th,.fettle-board table.fb-ranks td{border:0;padding:1px 18px 1px 0;white-space:nowrap;color:var(--soft)}
.fettle-board table.fb-ranks th{color:var(--ink)}
.fettle-board table tr,.fettle-board table tr:hover,.fettle-board table tbody tr:nth-child(odd),.fettle-board table thead{background:none!important;border:0}
.fettle-board table th,.fettle-board table td{text-align:start!important;vertical-align:top!important;padding:5px 16px 5px 0;border:0;border-bottom:1px solid var(--rule);background:none;font-weight:400;max-width:none;white-space:normal}
.fettle-board table thead th{color:var(--soft);font-size:12px;padding-top:0;padding-bottom:3px}
.fettle-board table th:last-child,.fettle-board table td:last-child{padding-right:0}
.fb-samples th[data-column=prompt]{width:24%}
.fb-no-untouched [data-column=untouched],.fb-no-reference [data-column=reference]{display:none}
.fb-text{white-space:pre-wrap;overflow-wrap:anywhere;display:-webkit-box;-webkit-box-orient:vertical;-webkit-line-clamp:4;overflow:hidden}
.fb-text.fb-open{display:block;max-height:24em;overflow:auto}
.fb-samples td[data-column=untouched],.fb-samples td[data-column=reference]{color:var(--soft)}
.fettle-board mark{color:inherit;background:var(--mark);border-radius:3px;padding:0 1px;margin:0 -1px;-webkit-box-decoration-break:clone;box-decoration-break:clone}
@container fettle (max-width:640px){
.fb-samples thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.fb-samples,.fb-samples tbody,.fb-samples tr,.fb-samples td,.fb-samples tbody th{display:block;width:auto!important}
.fettle-board table.fb-samples tr{border-bottom:1px solid var(--rule)!important;padding:6px 0}
.fettle-board table.fb-samples th,.fettle-board table.fb-samples td{border:0;padding:1px 0 3px}
.fb-samples td::before,.fb-samples tbody th::before{content:attr(data-label);display:block;font-size:11.5px;line-height:1.3;color:var(--soft)}
.fb-no-untouched td[data-column=untouched],.fb-no-reference td[data-column=reference],.fb-samples td:has(.fb-text:empty){display:none}}`

const chat = `
.fb-still img{display:block;width:100%;max-width:960px;height:auto}
.fb-chat-log{max-height:440px;overflow-y:auto;overscroll-behavior:contain;display:grid;gap:14px;min-height:24px}
.fb-turn{display:grid;gap:6px;min-width:0}
.fb-question{justify-self:end;max-width:80%;background:var(--wash);border-radius:10px;padding:5px 12px;white-space:pre-wrap}
.fb-answers{display:grid;grid-auto-flow:column;grid-auto-columns:minmax(0,1fr);gap:10px 28px}
.fb-answer{min-width:0}
.fb-answer-head{display:flex;gap:10px;align-items:baseline;justify-content:space-between;font-size:12px}
.fb-answer-head small{white-space:nowrap}
.fb-answer-head b{font-weight:500;color:var(--soft)}
.fb-answer-text{white-space:pre-wrap;min-height:1.5em}
.fb-answer-text[aria-busy=true]::after{content:"▍";color:var(--main);margin-inline-start:1px}
.fb-chat-form{display:flex;gap:8px;align-items:end}
.fb-chat-form textarea{flex:1 1 auto;min-width:0;resize:vertical;min-height:44px}
@container fettle (max-width:560px){.fb-answers{grid-auto-flow:row}.fb-chat-form{flex-direction:column;align-items:stretch}}`

/** The style sheet of boards and chat boxes, on a page by itself. */
export const boardCss = [colours, frame, header, controls, charts, notes, samples, chat].join('')

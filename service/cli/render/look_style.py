"""The style sheet of the HTML page of `study look`: light and dark, for screens and paper."""

STYLE = """
:root { color-scheme: light dark;
  --ground: #f6f7f9; --card: #ffffff; --ink: #1d2330; --quiet: #667085; --line: #e3e6ec; --bar: #3b6fd4;
  --negative: #c2703d; --error: #c0362c; --warning: #a86a00; --note: #2b6f8f; }
@media (prefers-color-scheme: dark) { :root {
  --ground: #14171d; --card: #1c2129; --ink: #e6e9ef; --quiet: #98a2b3; --line: #2e3541; --bar: #6d9bf1;
  --negative: #e0955f; --error: #f0776c; --warning: #e2ab4b; --note: #6fb7d6; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Noto Sans CJK KR", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 32px 20px 64px; }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 17px; margin: 36px 0 12px; }
h3 { font-size: 15px; margin: 0; overflow-wrap: anywhere; }
p { margin: 0 0 8px; }
code { font: 13px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
.quiet { color: var(--quiet); font-size: 13px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); gap: 12px; margin: 20px 0 0; }
.tiles b { display: block; font-size: 22px; line-height: 1.2; font-variant-numeric: tabular-nums; }
.findings { display: grid; gap: 10px; padding: 0; margin: 0; list-style: none; }
.finding { border-left: 4px solid var(--note); }
.finding.error { border-left-color: var(--error); } .finding.warning { border-left-color: var(--warning); }
.finding p { margin: 0; }
.level { font-size: 12px; font-weight: 600; letter-spacing: .02em; color: var(--note); }
.error .level { color: var(--error); } .warning .level { color: var(--warning); }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(320px, 1fr)); gap: 12px; }
.columns { display: grid; grid-template-columns: repeat(auto-fill, minmax(260px, 1fr)); gap: 12px; }
.column { display: flex; flex-direction: column; gap: 8px; min-width: 0; }
.head { display: flex; gap: 8px; align-items: baseline; justify-content: space-between; }
.badge { font-size: 12px; color: var(--quiet); border: 1px solid var(--line); border-radius: 999px; padding: 0 8px;
  white-space: nowrap; }
.treatment { font-size: 13px; color: var(--quiet); margin: 0; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: auto 1fr; gap: 0 12px; margin: auto 0 0; font-size: 13px; }
dt { color: var(--quiet); } dd { margin: 0; text-align: right; font-variant-numeric: tabular-nums; }
.wide dd { text-align: left; overflow-wrap: anywhere; }
svg.histogram { width: 100%; height: auto; display: block; }
svg text { font-size: 10px; fill: var(--quiet); } .bar { fill: var(--bar); } .bar.negative { fill: var(--negative); }
.axis { stroke: var(--line); }
.bars { display: grid; gap: 4px; }
.row { display: grid; grid-template-columns: minmax(60px, 34%) 1fr auto; gap: 10px; align-items: center;
  font-size: 13px; }
.label { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.track { width: 100%; height: 10px; background: var(--line); border-radius: 3px; overflow: hidden; }
.words { color: var(--quiet); font-variant-numeric: tabular-nums; white-space: nowrap; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 4px 12px 4px 0; border-bottom: 1px solid var(--line); vertical-align: top;
  max-width: 320px; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
td.why { white-space: normal; min-width: 200px; }
th { color: var(--quiet); font-weight: 500; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(120px, 1fr)); gap: 12px; }
.pictures figure { margin: 0; min-width: 0; }
.pictures img { width: 100%; aspect-ratio: 1; object-fit: contain; background: var(--ground); border-radius: 6px;
  image-rendering: pixelated; }
figcaption { font-size: 12px; color: var(--quiet); overflow-wrap: anywhere; }
@media print { body { background: #fff; } .card { break-inside: avoid; } }
"""

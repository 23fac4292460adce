/// The report's style sheet: light, dark and print, from 320 pixels up. Contrast of text is at
/// least 4.5 : 1 and of marks 3 : 1 against their ground in both schemes.
enum ReportStyle {
    static let sheet =
        palette + page + marks + regionColours + shapes + budgetColours + incidentColours + tables
        + media

    private static let palette = """
        :root{color-scheme:light dark;--ground:#fbfaf7;--card:#fff;--ink:#1d2126;--quiet:#5b636d;
        --rule:#dcd9d1;--grid:#ebe8e1;--accent:#0f5c8c;--good:#1a6b3c;--warn:#8a5200;--bad:#a82020;
        --warnground:#fdf3dc;--r0:#1565b0;--r1:#b5500b;--r2:#1b7a4b;--r3:#7a3fa8;--r4:#a01f5a;
        --r5:#5c6b00;--r6:#00707a;--r7:#6b4a2f;
        --compute:#2f7d6b;--encode:#7d5ba6;--wait:#8c9199;--transfer:#d98e04;--decode:#b66a9a;
        --apply:#3f77c2;--recover:#c0392b;--residue:#d5d2ca}
        @media screen and (prefers-color-scheme:dark){:root{--ground:#14171b;--card:#1c2026;
        --ink:#e9e7e2;
        --quiet:#a7adb6;--rule:#363c45;--grid:#2a2f37;--accent:#7cc0ee;--good:#7fd3a0;
        --warn:#f0bc66;
        --bad:#ff9a90;--warnground:#33290f;--r0:#6fb1f0;--r1:#f2a05c;--r2:#6fce9b;--r3:#c39aec;
        --r4:#f08bb6;--r5:#c3cf5c;--r6:#5fcbd6;--r7:#cfa887;
        --compute:#57b39d;--encode:#a98bd0;--wait:#767c85;--transfer:#f0b445;--decode:#d491bb;
        --apply:#74a5e8;--recover:#f07a6c;--residue:#454b54}}
        """

    private static let page = """
        *{box-sizing:border-box}
        html{-webkit-text-size-adjust:100%}
        body{margin:0;background:var(--ground);color:var(--ink);
        font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
        font-variant-numeric:tabular-nums}
        main,header,footer{max-width:1120px;margin:0 auto;padding:0 20px}
        header{padding-top:40px}
        h1{font-size:2.1rem;line-height:1.15;margin:0 0 .3rem;letter-spacing:-.015em}
        h2{font-size:1.25rem;margin:0 0 .9rem;letter-spacing:-.01em}
        h3{font-size:1rem;margin:1.4rem 0 .5rem}
        .lead{color:var(--quiet);margin:0 0 1rem;font-size:1.05rem;max-width:75ch}
        .quiet,.note,.empty{color:var(--quiet)}
        .note{font-size:.875rem;margin:.7rem 0 0;max-width:85ch}
        .warn{color:var(--warn)}
        .eyebrow{color:var(--accent);font-weight:600;font-size:.85rem;margin:0 0 .5rem}
        .banner{border:1px solid var(--rule);border-left:4px solid var(--accent);border-radius:6px;
        background:var(--card);padding:.7rem 1rem;margin:0 0 .7rem;font-size:.95rem}
        .banner.attention{border-left-color:var(--warn);background:var(--warnground)}
        .banner.broken{border-left-color:var(--bad)}
        section{background:var(--card);border:1px solid var(--rule);border-radius:10px;
        padding:22px 24px;margin:18px 0}
        .tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(290px,1fr));gap:14px;
        margin:22px 0 0}
        .tile{background:var(--card);border:1px solid var(--rule);border-radius:10px;
        padding:16px 18px}
        .tile dt{font-size:.875rem;font-weight:600;color:var(--quiet)}
        .tile .value{margin:.1rem 0 .35rem;font-size:1.9rem;line-height:1.2;font-weight:650;
        letter-spacing:-.02em}
        .tile .value small{font-size:1rem;font-weight:500;color:var(--quiet);letter-spacing:0}
        .tile .why{margin:0;font-size:.8125rem;line-height:1.4;color:var(--quiet)}
        .tile.first{border-color:var(--accent);border-width:2px;padding:15px 17px}
        code,.mono{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",
        monospace;
        font-size:.875em;overflow-wrap:anywhere}
        footer{padding-bottom:40px;color:var(--quiet);font-size:.875rem}

        """

    private static let marks = """
        figure{margin:0}
        figcaption{font-weight:600;margin:0 0 .3rem}
        .pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr));
        gap:24px 32px}
        svg{display:block;width:100%;height:auto}
        svg text{font-family:inherit;fill:var(--ink);font-size:13px}
        svg .tick,svg .label,svg .small{fill:var(--quiet)}
        svg .small{font-size:12px}
        svg .name{font-weight:650;font-size:16px}
        svg .strong{font-weight:650;fill:var(--ink);font-size:15px}
        svg .mid{text-anchor:middle}
        .grid{stroke:var(--grid)}.axis,.tickmark{stroke:var(--quiet)}
        .limit{stroke:var(--bad);stroke-dasharray:5 4;stroke-width:1.5}
        .line{fill:none;stroke-width:2.25;stroke-linejoin:round;stroke-linecap:round}
        .line.thin{stroke-width:1.25;opacity:.85}
        .line.broad{stroke-width:7;opacity:.28}
        .line.dotted{stroke-dasharray:2 5}
        .line.pool{stroke:var(--ink)}.dot.pool,.fill.pool,.key.pool{fill:var(--ink);
        background:var(--ink)}

        """

    private static let regionColours = (0..<8).map { index in
        """
        .line.r\(index){stroke:var(--r\(index))}
        .dot.r\(index),.fill.r\(index),.key.r\(index){fill:var(--r\(index));
        background:var(--r\(index))}

        """
    }.joined()

    private static let shapes = """
        svg .r0text{fill:var(--r0)}svg .r1text{fill:var(--r1)}
        .diagram{max-width:640px;margin:0 auto .6rem}
        .heat{fill:var(--accent)}
        .box{fill:var(--ground);stroke:var(--rule)}
        .wire{stroke:var(--quiet);stroke-width:2}
        .legend{list-style:none;display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;margin:.5rem 0 0;
        padding:0;
        font-size:.875rem;color:var(--quiet)}
        .key{display:inline-block;width:18px;height:3px;border-radius:2px;vertical-align:middle;
        margin-right:.45em}
        .key.broad{height:7px;opacity:.35}
        .key.dots{width:9px;height:9px;border-radius:50%}
        .key.square{width:12px;height:12px;border-radius:3px}
        .bar{margin:0 0 .9rem}.barname{font-weight:600;font-size:.95rem}
        .barname .quiet{font-weight:400}
        .bar svg{height:26px;border-radius:5px;overflow:hidden}
        .barnote{font-size:.875rem;color:var(--quiet)}
        .barnote b{color:var(--ink)}

        """

    private static let budgetColours = [
        "compute", "encode", "wait", "transfer", "decode", "apply", "recover", "residue",
    ].map { ".b-\($0){fill:var(--\($0));background:var(--\($0))}\n" }.joined()

    private static let incidentColours = """
        .k-joined,.k-epoch,.k-checkpoint,.k-started,.k-ended,.k-note,.k-model{fill:var(--accent)}
        .k-waiting{fill:var(--transfer)}.k-left{fill:var(--quiet)}
        .k-evicted,.k-violation,.k-coordinator_lost,.k-checkpoint_failed{fill:var(--bad)}
        .timeline{min-width:640px}

        """

    private static let tables = """
        .scroll{overflow-x:auto;-webkit-overflow-scrolling:touch}
        table{border-collapse:collapse;width:100%;font-size:.9rem}
        th,td{text-align:left;padding:.42rem .8rem .42rem 0;border-bottom:1px solid var(--grid);
        vertical-align:top;white-space:nowrap}
        thead th{color:var(--quiet);font-weight:600;border-bottom-color:var(--rule)}
        td.wide,th.wide,td:nth-child(3):not(.num){white-space:normal;min-width:9em}
        #links td:first-child{white-space:normal;min-width:9em}
        #events td:nth-child(3){min-width:18em}
        .num{text-align:right}
        tr>:last-child{padding-right:0}
        dl.facts{display:grid;grid-template-columns:minmax(8em,auto) 1fr;gap:.4rem 1.2rem;margin:0;
        font-size:.95rem}
        dl.facts dt{color:var(--quiet)}dl.facts dd{margin:0;overflow-wrap:anywhere}

        """

    private static let media = """
        @media (max-width:560px){header{padding-top:24px}h1{font-size:1.6rem}
        main,header,footer{padding-left:14px;padding-right:14px}
        section{padding:16px 14px;margin:12px 0}
        .tiles{grid-template-columns:1fr 1fr;gap:10px}.tile{padding:12px}.tile.first{padding:11px}
        .tile .value{font-size:1.45rem}
        dl.facts{grid-template-columns:1fr;gap:.1rem}dl.facts dd{margin-bottom:.6rem}}
        @media print{:root{color-scheme:light;--ground:#fff;--card:#fff}
        body{font-size:11pt}section,.tile{break-inside:avoid;border-color:#bbb}
        main,header,footer{max-width:none;padding:0}.scroll{overflow:visible}
        *{-webkit-print-color-adjust:exact;print-color-adjust:exact}}
        """
}

extension DevicePage {
    /// Its hash stands in the page's policy: only this very text is applied.
    static let stylesheet = HTML.verbatim(
        """
        :root { color-scheme: light dark; --text: #1c2430; --soft: #5a6675; --line: #ccd3dc; --card: #fff;
          --page: #eef1f5; --accent: #1f5fbf; --on-accent: #fff; --bad: #a3211b; --bad-page: #fdecea; --hint: #fff6dd; }
        @media (prefers-color-scheme: dark) { :root { --text: #e7ebf0; --soft: #a2adba; --line: #414b57; --card: #1d242c;
          --page: #12171c; --accent: #7db0ff; --on-accent: #0c1a2e; --bad: #ffb0a8; --bad-page: #40201e;
          --hint: #3a3117; } }
        * { box-sizing: border-box; }
        body { margin: 0; padding: 1rem; background: var(--page); color: var(--text);
          font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
        main { max-width: 30rem; margin: 4vh auto; padding: 1.5rem; background: var(--card);
          border: 1px solid var(--line); border-radius: .75rem; }
        h1 { margin: 0 0 1rem; font-size: 1.4rem; line-height: 1.2; }
        p { margin: 0 0 1rem; }
        a { color: var(--accent); }
        label, legend { font-weight: 600; }
        input:not([type=radio]), select { display: block; width: 100%; margin: .25rem 0 1rem; padding: .6rem .75rem;
          font: inherit; color: inherit; background: transparent; border: 1px solid var(--line); border-radius: .5rem; }
        select option { color: var(--text); background: var(--card); }
        .code { font-family: ui-monospace, monospace; font-size: 1.6rem; letter-spacing: .1em; text-align: center; }
        input.code { text-transform: uppercase; }
        p.code { font-size: 2rem; font-weight: 700; }
        :focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
        button { width: 100%; padding: .7rem 1rem; font: inherit; font-weight: 600; color: inherit; cursor: pointer;
          background: transparent; border: 1px solid var(--line); border-radius: .5rem; }
        .primary { color: var(--on-accent); background: var(--accent); border-color: var(--accent); }
        .decision { display: flex; gap: .75rem; }
        .logout { margin-top: 1.5rem; padding-top: 1rem; border-top: 1px solid var(--line); }
        .hint { color: var(--soft); font-size: .875rem; }
        .hint, .choice { margin-top: -.5rem; }
        .choice { display: flex; gap: .5rem; margin: .25rem 0; align-items: baseline; }
        .choice label { font-weight: 400; }
        .warning, .problem { padding: .75rem; border-radius: .5rem; }
        .warning { background: var(--hint); font-size: .9375rem; }
        .problem { background: var(--bad-page); color: var(--bad); font-weight: 600; }
        .done { font-size: 1.4rem; font-weight: 700; }
        fieldset { margin: 0 0 1rem; padding: 0; border: 0; min-width: 0; }
        legend { padding: 0; }
        fieldset label[for=name] { display: block; margin-top: .75rem; }
        dl { display: grid; grid-template-columns: auto 1fr; gap: .25rem 1rem; margin: 0 0 1rem; }
        dt { color: var(--soft); }
        dd { margin: 0; min-width: 0; }
        """)
}

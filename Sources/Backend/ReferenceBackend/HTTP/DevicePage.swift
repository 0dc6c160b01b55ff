import AgentModel
import Cryptography
import Diagnostics
import Foundation
import Hummingbird

/// The page on which an administrator lets hosts in: what it shows at each step. Needs no script.
enum DevicePage {
    /// Asks who is there.
    static func login(userCode: String?, problem: String? = nil) -> HTML {
        form(
            step: "login", formToken: nil,
            """
            <p>A host wants to join. To let it in, log in as administrator first.</p>
            \(notice(problem))
            \(hidden("user_code", userCode))
            <label for="token">Administration token</label>
            <input id="token" name="token" type="password" autocomplete="current-password" required autofocus
              aria-describedby="token-hint">
            <p class="hint" id="token-hint">It was printed at the backend's first start. <code>runbook-backend token
              reset</code> makes a new one.</p>
            <button class="primary">Log in</button>
            """)
    }

    /// Asks for the code.
    static func code(userCode: String?, formToken: String, problem: String? = nil) -> HTML {
        let field = form(
            step: "code", formToken: formToken,
            """
            <p>Enter the code that the host shows.</p>
            \(notice(problem))
            <label for="user_code">Code</label>
            <input id="user_code" name="user_code" class="code" value="\(userCode ?? "")" placeholder="XXXX-XXXX"
              autocomplete="off" autocapitalize="characters" spellcheck="false" maxlength="20" required autofocus>
            <button class="primary">Continue</button>
            """)
        return "\(field)\(logout(formToken))"
    }

    /// Shows who asks, and asks for the decision.
    static func decision(
        on login: DeviceLogin, agents: Page<RegisteredAgent>, formToken: String, now: Date, problem: String? = nil
    ) -> HTML {
        form(
            step: "decision", formToken: formToken,
            """
            <p class="code">\(login.userCode)</p>
            <p class="warning">Approve only if you see this code on a host that you, or somebody you trust, is logging
              in right now. Never approve a code that somebody sent you unasked.</p>
            \(notice(problem))
            <dl>
              <dt>Client</dt><dd>\(login.clientID)</dd>
              <dt>Scope</dt><dd>\(login.scope.isEmpty ? "none" : login.scope)</dd>
              <dt>Host</dt><dd>\(login.hostName ?? "(it doesn't say)")</dd>
              <dt>Address</dt><dd>\(login.address)</dd>
              <dt>Asked</dt><dd>\(age(of: login, at: now))</dd>
            </dl>
            <input type="hidden" name="user_code" value="\(login.userCode)">
            <fieldset>
              <legend>The host is</legend>
              <div class="choice"><input type="radio" id="new" name="agent" value="new" checked>
                <label for="new">a new agent</label></div>
              \(existing(agents))
              <label for="name">Name</label>
              <input id="name" name="name" autocomplete="off" maxlength="200" aria-describedby="name-hint">
              <p class="hint" id="name-hint">May be left empty. An existing agent then keeps the name it has.</p>
            </fieldset>
            <div class="decision">
              <button class="primary" name="decision" value="approve">Approve</button>
              <button name="decision" value="deny">Deny</button>
            </div>
            """)
    }

    /// Says what was done.
    static func approved(_ userCode: String, as agent: RegisteredAgent) -> HTML {
        """
        <p class="done">Approved</p>
        <p>The host that shows <strong>\(userCode)</strong> is now the agent
          <strong>\(agent.name ?? "without a name")</strong>. It goes on by itself within some seconds.</p>
        <dl><dt>Agent</dt><dd>\(agent.id)</dd></dl>
        <p><a href="/device">Enter another code</a></p>
        """
    }

    static func denied(_ userCode: String) -> HTML {
        """
        <p class="done">Denied</p>
        <p>The host that shows <strong>\(userCode)</strong> was turned away.</p>
        <p><a href="/device">Enter another code</a></p>
        """
    }

    /// Says why nothing was done.
    static func refused(_ message: String) -> HTML {
        """
        \(notice(message))
        <p><a href="/device">Back</a></p>
        """
    }

    /// The whole page, with the headers that keep other pages from using it.
    static func response(_ content: HTML, status: HTTPResponse.Status = .ok) -> Response {
        let page: HTML = """
            <!DOCTYPE html>
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <title>Let a host in – runbook-backend</title>
            <style>\(stylesheet)</style>
            </head>
            <body>
            <main>
            <h1>Let a host in</h1>
            \(content)
            </main>
            </body>
            </html>

            """
        return Response(
            status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(string: page.text)))
    }

    /// Also of answers that have no page.
    static let headers: HTTPFields = {
        var headers: HTTPFields = [
            .contentType: "text/html; charset=utf-8", .cacheControl: "no-store",
            .contentSecurityPolicy: policy, .xContentTypeOptions: "nosniff",
        ]
        for (name, value) in [("Referrer-Policy", "no-referrer"), ("X-Frame-Options", "DENY")] {
            if let name = HTTPFields.Element.Name(name) { headers[name] = value }
        }
        return headers
    }()

    // Nothing but the style sheet within the page itself, known by its hash (Content Security Policy Level 3).
    private static let policy =
        "default-src 'none'; style-src 'sha512-"
        + Data(SHA512.hash(stylesheet.text.utf8).bytes).base64EncodedString()
        + "'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

    private static func existing(_ agents: Page<RegisteredAgent>) -> HTML {
        if agents.elements.isEmpty { return "" }
        let choice: HTML
        if agents.nextCursor == nil {
            let options = agents.elements.map { agent -> HTML in
                "<option value=\"\(agent.id)\">\(agent.name ?? agent.id)</option>"
            }
            choice = "<select name=\"agent_id\" aria-label=\"Existing agent\">\(HTML(joining: options))</select>"
        } else {
            choice = "<input name=\"agent_id\" placeholder=\"its id\" aria-label=\"Id of the existing agent\">"
        }
        return """
            <div class="choice"><input type="radio" id="existing" name="agent" value="existing">
              <label for="existing">an agent that is here already</label></div>
            \(choice)
            """
    }

    private static func form(step: String, formToken: String?, _ content: HTML) -> HTML {
        """
        <form method="post" action="/device">
        <input type="hidden" name="step" value="\(step)">
        \(hidden("form_token", formToken))
        \(content)
        </form>
        """
    }

    private static func logout(_ formToken: String) -> HTML {
        """
        <form class="logout" method="post" action="/device">
        <input type="hidden" name="step" value="logout">
        \(hidden("form_token", formToken))
        <button>Log out</button>
        </form>
        """
    }

    private static func hidden(_ name: String, _ value: String?) -> HTML {
        guard let value, !value.isEmpty else { return "" }
        return "<input type=\"hidden\" name=\"\(name)\" value=\"\(value)\">"
    }

    private static func notice(_ problem: String?) -> HTML {
        problem.map { "<p class=\"problem\" role=\"alert\">\($0)</p>" } ?? ""
    }

    private static func age(of login: DeviceLogin, at now: Date) -> String {
        let seconds = max(0, Int(now.timeIntervalSince(login.createdAt)))
        let ago = seconds < 120 ? "\(seconds) seconds ago" : "\(seconds / 60) minutes ago"
        return "\(ago) (\(RFC3339.string(from: login.createdAt)))"
    }
}

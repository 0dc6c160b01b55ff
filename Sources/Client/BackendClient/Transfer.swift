import CCurl
import Foundation

/// One easy handle with what it needs while it runs. Only the loop's thread touches it.
final class Transfer {
    let job: TransferLoop.Job
    let easy: UnsafeMutableRawPointer

    private let responseLimit: Int
    /// The URL of the proxy for this URL, unless an exception holds.
    private let proxy: String?
    private let errorText: UnsafeMutablePointer<CChar>
    private var requestHeaders: UnsafeMutablePointer<curl_slist>?
    private var status = 0
    private var headers: [(name: String, value: String)] = []
    private var headerBytes = 0
    /// Whether the empty line after the header came. libcurl takes its absence for the end of an answer.
    private var headerIsComplete = false
    private var body = Data()
    /// Why a callback ended the transfer.
    private var failure: HTTPClientError?

    /// What one answer's header may take together.
    private static let headerLimit = 256 << 10

    init(
        _ job: TransferLoop.Job, configuration: HTTPClient.Configuration, now: ContinuousClock.Instant
    ) throws(HTTPClientError) {
        guard let easy = curl_easy_init() else {
            throw .failed(url: job.request.url.text, problem: "libcurl has no memory for it")
        }
        self.job = job
        self.easy = easy
        responseLimit = job.request.responseLimit ?? configuration.responseLimit
        proxy = configuration.proxies.proxy(for: job.request.url)
        errorText = .allocate(capacity: Int(CURL_ERROR_SIZE))
        errorText.initialize(repeating: 0, count: Int(CURL_ERROR_SIZE))
        try setUpCallbacks()
        try setUpConnection(configuration)
        try setUpLimits(configuration, now: now)
        try setUpMessage(configuration)
    }

    deinit {
        curl_easy_cleanup(easy)
        curl_slist_free_all(requestHeaders)
        errorText.deallocate()
    }

    /// What came of it, once libcurl is done with the handle.
    func outcome(_ result: CURLcode) -> Result<HTTPResponse, HTTPClientError> {
        if let failure { return .failure(failure) }
        guard result == CURLE_OK else {
            let report = TransferFailure(
                result: result, url: job.request.url, detail: String(cString: errorText), systemError: systemError,
                received: body.count, responseLimit: responseLimit, isConnected: isConnected, proxy: proxy,
                connectStatus: number(CURLINFO_HTTP_CONNECTCODE))
            return .failure(report.error)
        }
        guard headerIsComplete else {
            let problem = "it ended in the middle of the header"
            return .failure(.connectionLost(url: job.request.url.text, received: 0, problem: problem))
        }
        // Only a proxy asks so (RFC 9110, section 15.5.8).
        guard status != 407 else {
            let scheme = headers.first { HeaderLine.isSame($0.name, "proxy-authenticate") }?.value ?? "no scheme"
            let place = proxy.flatMap { ProxyAddress($0)?.description } ?? job.request.url.text
            return .failure(
                .proxyUnauthorized(at: place, status: status, scheme: String(scheme.prefix { $0 != " " && $0 != "," })))
        }
        return .success(
            HTTPResponse(
                status: status, headers: headers, body: body, url: job.request.url,
                reusedConnection: number(CURLINFO_NUM_CONNECTS) == 0))
    }

    private var systemError: Int32 { Int32(clamping: number(CURLINFO_OS_ERRNO)) }

    private var isConnected: Bool {
        var microseconds: curl_off_t = 0
        runbook_easy_get_offset(easy, CURLINFO_PRETRANSFER_TIME_T, &microseconds)
        return microseconds > 0
    }

    private func number(_ info: CURLINFO) -> Int {
        var value = 0
        runbook_easy_get_long(easy, info, &value)
        return value
    }
}

// MARK: What libcurl is told

extension Transfer {
    private func setUpCallbacks() throws(HTTPClientError) {
        let context = Unmanaged.passUnretained(self).toOpaque()
        try check(runbook_easy_set_pointer(easy, CURLOPT_ERRORBUFFER, errorText))
        try check(runbook_easy_set_data_callback(easy, CURLOPT_WRITEFUNCTION, receiveBody))
        try check(runbook_easy_set_pointer(easy, CURLOPT_WRITEDATA, context))
        try check(runbook_easy_set_data_callback(easy, CURLOPT_HEADERFUNCTION, receiveHeader))
        try check(runbook_easy_set_pointer(easy, CURLOPT_HEADERDATA, context))
        try check(runbook_easy_set_open_socket_callback(easy, openSocket))
        try set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1)
        try set(CURLOPT_NOSIGNAL, 1)
        // Without it a transfer that is given up during name resolution holds the whole loop until the resolver
        // thread returns.
        try set(CURLOPT_QUICK_EXIT, 1)
    }

    private func setUpConnection(_ configuration: HTTPClient.Configuration) throws(HTTPClientError) {
        let url = job.request.url
        try set(CURLOPT_URL, url.text)
        try set(CURLOPT_PROTOCOLS_STR, "http,https")
        try set(CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_2TLS))
        try set(CURLOPT_SSLVERSION, Int(CURL_SSLVERSION_TLSv1_2))
        try set(CURLOPT_TCP_KEEPALIVE, 1)
        if job.request.usesNewConnection { try set(CURLOPT_FRESH_CONNECT, 1) }
        // An empty value and not none: with none libcurl reads the environment itself.
        try set(CURLOPT_PROXY, proxy ?? "")
        try set(CURLOPT_NOPROXY, configuration.proxies.exceptions ?? "")
        if let file = configuration.caFile {
            try set(CURLOPT_CAINFO, file)
            // The distribution's folder of CAs would still be trusted beside the file.
            try check(runbook_easy_set_string(easy, CURLOPT_CAPATH, nil))
        }
        // With a password, though it is none, OpenSSL never asks for one: it would on the terminal, on this thread, and
        // with the process's signal handlers replaced by its own.
        try set(CURLOPT_KEYPASSWD, "")
        if let file = configuration.clientCertificate { try set(CURLOPT_SSLCERT, file) }
        if let file = configuration.clientKey { try set(CURLOPT_SSLKEY, file) }
    }

    private func setUpLimits(
        _ configuration: HTTPClient.Configuration, now: ContinuousClock.Instant
    ) throws(HTTPClientError) {
        let idleLimit = job.request.idleLimit ?? configuration.idleLimit
        try set(CURLOPT_TIMEOUT_MS, max(1, (job.deadline - now).milliseconds))
        try set(CURLOPT_CONNECTTIMEOUT_MS, max(1, configuration.connectLimit.milliseconds))
        try set(CURLOPT_LOW_SPEED_LIMIT, 32)
        try set(CURLOPT_LOW_SPEED_TIME, max(1, idleLimit.milliseconds / 1000))
        // What announces too much is given up before it is received; `receiveBody` counts what comes.
        try check(
            runbook_easy_set_offset(easy, CURLOPT_MAXFILESIZE_LARGE, curl_off_t(max(1, responseLimit))))
    }

    private func setUpMessage(_ configuration: HTTPClient.Configuration) throws(HTTPClientError) {
        let request = job.request
        // All that libcurl can decode.
        try set(CURLOPT_ACCEPT_ENCODING, "")
        try set(CURLOPT_USERAGENT, configuration.userAgent)
        if request.method == .head {
            try set(CURLOPT_NOBODY, 1)
        } else if request.body != nil || [.post, .put, .patch].contains(request.method) {
            let body = request.body ?? Data()
            try check(runbook_easy_set_offset(easy, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(body.count)))
            let status = body.withUnsafeBytes { buffer in
                // Of an empty buffer no byte is read, but a null pointer would mean "read from a callback".
                buffer.withMemoryRebound(to: CChar.self) { characters in
                    runbook_easy_set_string(easy, CURLOPT_COPYPOSTFIELDS, characters.baseAddress ?? emptyBody)
                }
            }
            try check(status)
        }
        if request.method != .head { try set(CURLOPT_CUSTOMREQUEST, request.method.rawValue) }
        try setUpHeaders(request)
    }

    private func setUpHeaders(_ request: HTTPRequest) throws(HTTPClientError) {
        // A field without a value takes out what libcurl adds by itself: a second's wait for `100 Continue`, and the
        // type of a web form.
        var lines = ["Expect:"]
        if !request.headers.contains(where: { HeaderLine.isSame($0.name, "Content-Type") }) {
            lines.append("Content-Type:")
        }
        for header in request.headers {
            if let problem = header.problem { throw .invalidHeader(name: header.name, problem: problem) }
            lines.append(header.value.isEmpty ? "\(header.name);" : "\(header.name): \(header.value)")
        }
        for line in lines {
            guard let list = curl_slist_append(requestHeaders, line) else {
                throw .failed(url: request.url.text, problem: "libcurl has no memory for it")
            }
            requestHeaders = list
        }
        try check(runbook_easy_set_headers(easy, requestHeaders))
    }

    private func set(_ option: CURLoption, _ value: Int) throws(HTTPClientError) {
        try check(runbook_easy_set_long(easy, option, value))
    }

    private func set(_ option: CURLoption, _ value: String) throws(HTTPClientError) {
        try check(runbook_easy_set_string(easy, option, value))
    }

    private func check(_ status: CURLcode) throws(HTTPClientError) {
        guard status != CURLE_OK else { return }
        throw .failed(url: job.request.url.text, problem: String(cString: curl_easy_strerror(status)))
    }
}

// MARK: What libcurl tells

extension Transfer {
    /// Takes one piece of the body. False gives the transfer up.
    fileprivate func appendBody(_ piece: UnsafeRawBufferPointer) -> Bool {
        // Counted after decompression: a few kilobytes can become gigabytes.
        guard piece.count <= responseLimit - body.count else {
            failure = .responseTooLarge(url: job.request.url.text, limit: responseLimit)
            return false
        }
        body.append(contentsOf: piece)
        return true
    }

    /// Takes one line of the header. False gives the transfer up.
    fileprivate func appendHeader(_ line: UnsafeRawBufferPointer) -> Bool {
        headerBytes += line.count
        guard headerBytes <= Self.headerLimit else {
            failure = .invalidResponse(
                url: job.request.url.text, problem: "its header is over \(Self.headerLimit) bytes")
            return false
        }
        // Trailers come after the body.
        guard body.isEmpty else { return true }
        switch HeaderLine(line) {
        case .status(let code):
            // What came before was an interim answer.
            headers.removeAll()
            headerIsComplete = false
            status = code
        case .end: headerIsComplete = true
        case .field(let name, let value): headers.append((name: name, value: value))
        case .other: break
        }
        return true
    }
}

/// One byte with a lifetime without end, for a body without bytes.
private nonisolated(unsafe) let emptyBody: UnsafePointer<CChar> = {
    // Unsafe because a pointer isn't Sendable; nobody ever writes through this one.
    let pointer = UnsafeMutablePointer<CChar>.allocate(capacity: 1)
    pointer.initialize(to: 0)
    return UnsafePointer(pointer)
}()

private func receiveBody(
    _ bytes: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
    guard let context else { return 0 }
    let transfer = Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue()
    let total = size * count
    // Any number but the one given makes libcurl end the transfer; -1 is none of its special values.
    return transfer.appendBody(UnsafeRawBufferPointer(start: bytes, count: total)) ? total : -1
}

private func receiveHeader(
    _ bytes: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
    guard let context else { return 0 }
    let transfer = Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue()
    let total = size * count
    return transfer.appendHeader(UnsafeRawBufferPointer(start: bytes, count: total)) ? total : -1
}

/// A socket that programs started by plugins don't inherit.
private func openSocket(
    _ context: UnsafeMutableRawPointer?, _ purpose: curlsocktype, _ address: UnsafeMutablePointer<curl_sockaddr>?
) -> curl_socket_t {
    guard let address = address?.pointee else { return -1 }
    return socket(address.family, address.socktype | Int32(SOCK_CLOEXEC.rawValue), address.protocol)
}

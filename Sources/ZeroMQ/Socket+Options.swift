internal import CZeroMQ

/// ZMQ_ZAP_ENFORCE_DOMAIN, given by number because the stable header hides it among the drafts;
/// the stable library has it (rule 5).
private let zapEnforceDomain: Int32 = 93

extension Socket {
    func apply(_ options: SocketOptions) throws(ZeroMQError) {
        try check(options)
        try set(ZMQ_LINGER, options.lingerMilliseconds, "LINGER")
        try set(ZMQ_SNDHWM, options.sendHighWaterMark, "SNDHWM")
        try set(ZMQ_RCVHWM, options.receiveHighWaterMark, "RCVHWM")
        try set(ZMQ_MAXMSGSIZE, options.maxMessageSize, "MAXMSGSIZE")
        try set(ZMQ_HANDSHAKE_IVL, options.handshakeMilliseconds, "HANDSHAKE_IVL")
        try set(ZMQ_RECONNECT_IVL, options.reconnectMilliseconds, "RECONNECT_IVL")
        try set(ZMQ_RECONNECT_IVL_MAX, options.reconnectMaxMilliseconds, "RECONNECT_IVL_MAX")
        try set(ZMQ_CONNECT_TIMEOUT, options.connectTimeoutMilliseconds, "CONNECT_TIMEOUT")
        try set(ZMQ_AFFINITY, options.ioThreadAffinity, "AFFINITY")
        try set(ZMQ_IMMEDIATE, Int32(options.immediate ? 1 : 0), "IMMEDIATE")
        try set(ZMQ_BACKLOG, options.backlog, "BACKLOG")
        try set(ZMQ_IPV6, Int32(0), "IPV6")
        if kind == .router {
            // Rule 3: without it a ROUTER drops what it cannot queue and says nothing.
            try set(ZMQ_ROUTER_MANDATORY, Int32(1), "ROUTER_MANDATORY")
        }
        if let keepAlive = options.keepAlive {
            try set(ZMQ_TCP_KEEPALIVE, Int32(1), "TCP_KEEPALIVE")
            try set(ZMQ_TCP_KEEPALIVE_IDLE, keepAlive.idle, "TCP_KEEPALIVE_IDLE")
            try set(ZMQ_TCP_KEEPALIVE_INTVL, keepAlive.interval, "TCP_KEEPALIVE_INTVL")
            try set(ZMQ_TCP_KEEPALIVE_CNT, keepAlive.count, "TCP_KEEPALIVE_CNT")
        }
        if let proxy = options.socksProxy {
            try set(ZMQ_SOCKS_PROXY, Array(proxy.utf8), "SOCKS_PROXY")
        }
        try apply(options.security)
    }

    private func apply(_ security: SocketSecurity) throws(ZeroMQError) {
        switch security {
        case .plaintext:
            break
        case .curveServer(let keys, let domain):
            try set(ZMQ_CURVE_SERVER, Int32(1), "CURVE_SERVER")
            try set(keys)
            // Rule 5: a domain *and* enforcement; enforcement with an empty domain turns ZAP off.
            try set(ZMQ_ZAP_DOMAIN, Array(domain.utf8), "ZAP_DOMAIN")
            try set(zapEnforceDomain, Int32(1), "ZAP_ENFORCE_DOMAIN")
        case .curveClient(let keys, let server):
            try set(keys)
            try set(ZMQ_CURVE_SERVERKEY, server.bytes, "CURVE_SERVERKEY")
        }
    }

    /// Values outside what libzmq takes, or takes and then misbehaves with.
    private func check(_ options: SocketOptions) throws(ZeroMQError) {
        func require(_ condition: Bool, _ name: String, _ hint: String) throws(ZeroMQError) {
            guard !condition else { return }
            throw ZeroMQError(
                .badOption, operation: "set", subject: name, reason: "value out of range",
                hint: hint)
        }
        try require(
            (0...60_000).contains(options.lingerMilliseconds), "LINGER",
            "use 0...60000 ms: a shut-down must end")
        let marks: ClosedRange<Int32> = 1...1_000_000
        try require(
            marks.contains(options.sendHighWaterMark)
                && marks.contains(options.receiveHighWaterMark),
            "SNDHWM and RCVHWM", "use 1...1000000: 0 would mean unlimited")
        try require(
            (276...(1 << 30)).contains(options.maxMessageSize), "MAXMSGSIZE",
            "use 276...2^30: smaller breaks the CURVE handshake (rule 8)")
        try require(
            (100...60_000).contains(options.handshakeMilliseconds), "HANDSHAKE_IVL",
            "use 100...60000 ms")
        try require(
            options.reconnectMilliseconds >= 1
                && options.reconnectMaxMilliseconds >= options.reconnectMilliseconds,
            "RECONNECT_IVL", "use at least 1 ms and a maximum not below it")
        if case .curveServer(_, let domain) = options.security {
            try require(
                (1...255).contains(domain.utf8.count), "ZAP_DOMAIN",
                "use 1...255 bytes: with an empty domain any key is admitted (rule 5)")
        }
    }

    private func set(_ keys: CurveKeyPair) throws(ZeroMQError) {
        try set(ZMQ_CURVE_PUBLICKEY, keys.publicKey.bytes, "CURVE_PUBLICKEY")
        var failure: ZeroMQError?
        unsafe keys.secretKey.withBytes { secret in
            // SAFETY: libzmq copies the 32 bytes during the call.
            guard let socket = try? unsafe raw(),
                unsafe zmq_setsockopt(
                    socket, ZMQ_CURVE_SECRETKEY, secret.baseAddress, secret.count) == 0
            else {
                failure = .last("set", "CURVE_SECRETKEY")
                return
            }
        }
        if let failure { throw failure }
    }

    private func set(
        _ option: Int32, _ value: some FixedWidthInteger, _ name: String
    ) throws(ZeroMQError) {
        var copy = value
        let size = MemoryLayout.size(ofValue: copy)
        // SAFETY: libzmq copies `size` bytes during the call.
        guard try unsafe zmq_setsockopt(raw(), option, &copy, size) == 0 else {
            throw .last("set", name)
        }
    }

    private func set(_ option: Int32, _ value: [UInt8], _ name: String) throws(ZeroMQError) {
        // SAFETY: libzmq copies the bytes during the call.
        guard try unsafe zmq_setsockopt(raw(), option, value, value.count) == 0 else {
            throw .last("set", name)
        }
    }
}

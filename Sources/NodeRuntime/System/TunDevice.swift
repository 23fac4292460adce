internal import CLinux
internal import Glibc

/// The only way out of a region's namespace: an interface whose packets this process reads and writes.
@safe final class TunDevice {
    static let name = "longhaul0"
    /// Packets the kernel may hold until they are read: bursts of a whole window at 10 Gbit/s.
    private static let kernelQueue: Int32 = 10_000

    let descriptor: Int32

    /// - Parameters:
    ///   - address: IPv4, host order; everything of `mask` is routed here.
    init(in namespace: NetworkNamespace, address: UInt32, mask: UInt32, mtu: Int32)
        throws(RelayError)
    {
        // SAFETY: here and below texts are passed for the call.
        let opened = namespace.inside {
            unsafe open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC)
        }
        guard opened >= 0 else {
            throw .system(
                "open", "/dev/net/tun", hint: "packet mode needs the kernel's tun module and root")
        }
        descriptor = opened
        let code = namespace.inside { () -> Int32 in
            guard unsafe longhaul_tun_attach(opened, Self.name) == 0 else { return -1 }
            return NetworkNamespace.configure { control in
                guard
                    unsafe longhaul_interface_address(control, Self.name, address, mask) == 0
                else { return -1 }
                return unsafe longhaul_interface_up(control, Self.name, mtu, Self.kernelQueue)
            }
        }
        guard code == 0 else {
            let error = RelayError.system(
                "set up", Self.name, hint: "packet mode needs CAP_NET_ADMIN")
            throw error
        }
    }

    deinit { _ = close(descriptor) }
}

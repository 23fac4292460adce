/// The unit an axis is labelled in, chosen for its largest value.
struct AxisUnit {
    var name: String
    /// In base units.
    var size: Double

    static func time(_ seconds: Double) -> AxisUnit {
        if seconds <= 180 { return AxisUnit(name: "seconds", size: 1) }
        if seconds <= 3 * 3600 { return AxisUnit(name: "minutes", size: 60) }
        return AxisUnit(name: "hours", size: 3600)
    }

    static func count(_ most: Double) -> AxisUnit {
        if most >= 2e9 { return AxisUnit(name: "billions", size: 1e9) }
        if most >= 2e6 { return AxisUnit(name: "millions", size: 1e6) }
        return AxisUnit(name: "thousands", size: 1e3)
    }

    static func bitRate(_ most: Double) -> AxisUnit {
        if most >= 2e9 { return AxisUnit(name: "Gbit/s", size: 1e9) }
        if most >= 1e6 { return AxisUnit(name: "Mbit/s", size: 1e6) }
        return AxisUnit(name: "kbit/s", size: 1e3)
    }
}

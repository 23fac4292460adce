import ClusterModel
import Testing

/// Numbers as they are printed everywhere.
struct FiguresTests {
    @Test(arguments: [
        (0.0, "0 s"), (4.2e-6, "4.2 us"), (0.015, "15 ms"), (0.9996, "1 s"), (1.525, "1.53 s"),
        (59.96, "1 min 0 s"), (123.4, "2 min 3 s"), (3_720, "1 h 2 min"), (-0.03, "-30 ms"),
    ])
    func durationTakesTheUnitThatFits(seconds: Double, text: String) {
        #expect(Figures.duration(seconds) == text)
    }

    @Test(arguments: [
        (0.0, "0 B"), (999, "999 B"), (999.6, "1 kB"), (486_463, "486 kB"), (4.9e6, "4.9 MB"),
    ])
    func bytesAreDecimal(value: Double, text: String) {
        #expect(Figures.bytes(value) == text)
    }

    @Test(arguments: [
        (0.0321, "0.0321"), (3.214, "3.21"), (32.14, "32.1"), (321.4, "321"), (9.999, "10.0"),
        (0.99996, "1.00"), (-0.5, "-0.500"), (0, "0"),
    ])
    func significantKeepsThreeDigits(value: Double, text: String) {
        #expect(Figures.significant(value) == text)
    }

    @Test func fixedRoundsAndPads() {
        #expect(Figures.fixed(1.005, 1) == "1.0")
        #expect(Figures.fixed(-0.04, 1) == "0.0")
        #expect(Figures.fixed(-0.06, 1) == "-0.1")
        #expect(Figures.fixed(2, 3) == "2.000")
        #expect(Figures.fixed(.nan, 2) == "nan")
        #expect(Figures.fixed(.infinity, 2) == "inf")
    }

    @Test func thousandsAreSeparated() {
        #expect(Figures.grouped(UInt64(0)) == "0")
        #expect(Figures.grouped(UInt64(999)) == "999")
        #expect(Figures.grouped(UInt64(1_234_567)) == "1,234,567")
        #expect(Figures.grouped(-1_234.5) == "-1,235")
        #expect(Figures.grouped(Double.nan) == "-")
    }

    @Test func columnsAlignAndParagraphsWrap() {
        let table = TextTable.render(["a", "long"], [["name", "1"], ["n", "22"]])
        #expect(table == "a     long\nname     1\nn       22")
        #expect(TextTable.wrapped("aa bb cc", width: 5) == "aa bb\ncc")
    }
}

import CBLAS
import TrainingKernels

/// A row-major matrix inside a `Floats`; rows lie `rowStride` floats apart.
struct Matrix {
    let floats: Floats
    let rows: Int
    let columns: Int
    let rowStride: Int

    init(_ floats: Floats, rows: Int, columns: Int, rowStride: Int? = nil) {
        let rowStride = rowStride ?? columns
        precondition(rows > 0 && columns > 0 && rowStride >= columns)
        precondition((rows - 1) * rowStride + columns <= floats.count)
        precondition(rows <= Int(Int32.max) && rowStride <= Int(Int32.max))
        self.floats = floats
        self.rows = rows
        self.columns = columns
        self.rowStride = rowStride
    }
}

/// Whether an operand enters a product as it is stored or transposed.
enum Orientation {
    case asStored
    case transposed
}

/// result = scale * a b, or result += scale * a b; single precision, by OpenBLAS.
///
/// The order of additions inside a product is OpenBLAS's and depends on its kernel for the
/// processor: equal bytes are certain on one machine with one thread count, not between machines.
func multiply(
    _ a: Matrix, _ aOrientation: Orientation = .asStored,
    _ b: Matrix, _ bOrientation: Orientation = .asStored,
    into result: Matrix, adding: Bool = false, scale: Float = 1
) {
    let rows = aOrientation == .asStored ? a.rows : a.columns
    let inner = aOrientation == .asStored ? a.columns : a.rows
    let columns = bOrientation == .asStored ? b.columns : b.rows
    precondition(inner == (bOrientation == .asStored ? b.rows : b.columns))
    precondition(result.rows == rows && result.columns == columns)
    // SAFETY: each matrix was checked against its storage when it was made, and the three shapes
    // agree, so that sgemm reads and writes inside the three extents only.
    unsafe cblas_sgemm(
        CblasRowMajor,
        aOrientation == .asStored ? CblasNoTrans : CblasTrans,
        bOrientation == .asStored ? CblasNoTrans : CblasTrans,
        Int32(rows), Int32(columns), Int32(inner), scale,
        a.floats.address, Int32(a.rowStride), b.floats.address, Int32(b.rowStride),
        adding ? 1 : 0, result.floats.address, Int32(result.rowStride))
}

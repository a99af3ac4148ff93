import Foundation

/// Takes the numbers of standard input, output and error if the process was started without one, as by `>&-`: else the first file that it opens gets
/// that number, and what is printed goes into it. Whoever writes to one of them is told that it cannot be done.
func holdStandardDescriptors() {
    for descriptor: Int32 in 0...2 where fcntl(descriptor, F_GETFD) == -1 {
        // The lowest number that is free.
        _ = open(descriptor == STDIN_FILENO ? "/dev/null" : "/dev/full", O_RDWR)
    }
}

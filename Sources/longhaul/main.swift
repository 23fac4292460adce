import LonghaulCommands

CommandLineRunner.run(LonghaulCommand.self)

import LonghaulCommands

CommandLineRunner.run(CoordinatorCommand.self)

import LonghaulCommands

CommandLineRunner.run(WorkerCommand.self)
